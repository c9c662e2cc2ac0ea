#include "data/image.h"

#include <cstring>

namespace striate {

void copy_window(const uint8_t* picture, size_t row_bytes, const Window& window, int channels, Image& to) {
  to.reshape(window.height, window.width, channels);
  const uint8_t* from = picture + window.top * row_bytes + static_cast<size_t>(window.left) * channels;
  if (to.row_bytes() == row_bytes) {
    std::memcpy(to.pixels.data(), from, to.pixels.size());
    return;
  }
  for (int y = 0; y < window.height; ++y) std::memcpy(to.row(y), from + y * row_bytes, to.row_bytes());
}

}  // namespace striate
