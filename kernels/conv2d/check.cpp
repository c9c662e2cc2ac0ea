#include "kernels/conv2d/check.h"

#include <algorithm>

#include "kernels/error.h"

namespace striate {

void check_forward(const Conv2dShape& shape, Activation activation) {
  shape.check();
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a convolution; apply others after it",
                      shape.to_string());
}

int64_t images_per_launch(const Conv2dShape& shape) {
  // Half of what 31 bits count: padding moves a window's corner, and a tile's end, beyond the image.
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t largest = std::max({(shape.H + 2 * shape.pad_h) * (shape.W + 2 * shape.pad_w) * shape.C,
                                    shape.P() * shape.Q() * shape.K, shape.w_size()});
  require<ShapeError>(largest < kMost, "{}: images and weights on cuda hold fewer than 2^30 values, padding included",
                      shape.to_string());
  return kMost / largest;
}

}  // namespace striate
