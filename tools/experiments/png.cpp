#include "tools/experiments/png.h"

#include <cstdint>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"

// stb_image_write keeps to this translation unit.
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace striate {

std::string encode_png(const Image& image) {
  require<ShapeError>(image.height > 0 && image.width > 0 && (image.channels == 1 || image.channels == 3),
                      "PNG: expected pixels of 1 or 3 channels, found {}x{}x{}", image.height, image.width,
                      image.channels);
  std::string bytes;
  const auto append = [](void* to, void* data, int count) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(count));
  };
  const int written = stbi_write_png_to_func(append, &bytes, image.width, image.height, image.channels,
                                             image.pixels.data(), static_cast<int>(image.row_bytes()));
  require<Error>(written != 0, "PNG: {}x{} pixels could not be encoded", image.height, image.width);
  return bytes;
}

void write_png(const Image& image, const std::filesystem::path& file) {
  write_file_atomically(file.string(), encode_png(image));
}

std::string base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k)
      three = three << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) {
      text += i + k <= bytes.size() ? kDigits[three >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

}  // namespace striate
