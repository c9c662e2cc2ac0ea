#pragma once

#include <cstdint>

#include "data/dataset.h"

namespace striate {

/// A dataset that is drawn, not read: ten classes of shapes (disc, ring, square, triangle, cross) and textures
/// (horizontal, vertical and diagonal stripes, checkerboard, dots), with random place, size, tilt, colours, shading and
/// noise. A picture hangs on (seed, part, index) alone; its class is index mod 10.
struct SyntheticOptions {
  int height = 32, width = 32;
  int channels = 3;  ///< 1 or 3
  int64_t train_images = 10000, test_images = 2000;
  uint64_t seed = 0;
};

/// Throws ConfigError unless both sides are 8 to 4096 pixels and both parts hold an image.
DatasetParts open_synthetic(const SyntheticOptions& options);

}  // namespace striate
