#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace striate::test {

/// A filter whose tuning is known. Orientation as Grating has it: the direction in which it varies, counter-clockwise.
struct Gabor {
  double orientation_deg = 0.0;
  double cycles_per_pixel = 0.2;
  double sigma = 4.0;  ///< of the round Gaussian envelope, in pixels
  double phase_rad = 0.0;
  double amplitude = 1.0;  ///< 0: a filter of zeros
  bool blob = false;       ///< the envelope less its mean: no orientation
};

/// Weights [filters, size, size, channels], the same in every channel, each without response to an even field.
Tensor gabor_weights(const std::vector<Gabor>& filters, int64_t size, int64_t channels);

}  // namespace striate::test
