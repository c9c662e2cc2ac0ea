#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/part.h"

namespace striate {

/// No picture with more pixels than this is decoded or made, whatever a header says.
inline constexpr int64_t kMostPixels = int64_t{1} << 27;

/// An 8-bit picture [height, width, channels], channels interleaved: 1 is grey, 3 is RGB.
struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;

  /// Gives the picture a new shape; its contents are unspecified afterwards. Capacity is kept, so that a buffer that
  /// has seen its largest picture allocates no more.
  void reshape(int new_height, int new_width, int new_channels) {
    height = new_height;
    width = new_width;
    channels = new_channels;
    pixels.resize(static_cast<size_t>(height) * row_bytes());
  }

  size_t row_bytes() const { return static_cast<size_t>(width) * channels; }
  uint8_t* row(int y) { return pixels.data() + y * row_bytes(); }
  const uint8_t* row(int y) const { return pixels.data() + y * row_bytes(); }
};

/// Copies a window of a picture that lies in memory as rows of `row_bytes`.
void copy_window(const uint8_t* picture, size_t row_bytes, const Window& window, int channels, Image& to);

}  // namespace striate
