#include "kernels/linear/check.h"

#include "kernels/error.h"

namespace striate {

void check_forward(const LinearShape& shape, Activation activation) {
  shape.check();
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a linear layer; apply others after it",
                      shape.to_string());
}

void check_32_bit(const LinearShape& shape) {
  constexpr int64_t kMost = int64_t{1} << 31;
  require<ShapeError>(shape.N * shape.C < kMost && shape.N * shape.K < kMost && shape.K * shape.C < kMost,
                      "{}: matrices on cuda hold fewer than 2^31 values; use a smaller batch", shape.to_string());
}

}  // namespace striate
