#pragma once

#include <cstdint>

#include "data/image.h"

namespace striate::test {

/// The picture that the literal values of these tests were computed from with Pillow.
inline Image formula_picture(int height, int width, int channels) {
  Image image;
  image.reshape(height, width, channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        image.row(y)[x * channels + c] =
            static_cast<uint8_t>((x * 37 + y * 59 + c * 83 + x * y * 7 + (x * x * 11) % 97) % 256);
      }
    }
  }
  return image;
}

}  // namespace striate::test
