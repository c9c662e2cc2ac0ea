#include "kernels/batch_norm/check.h"

#include "kernels/error.h"

namespace striate {

void BatchNormShape::check() const {
  require<ShapeError>(rows >= 0 && C > 0, "batch_norm x [{},{}]: every size must be positive (the rows may be 0)", rows,
                      C);
  require<ShapeError>(epsilon > 0.0f, "batch_norm: epsilon must be positive, found {}", epsilon);
  require<ShapeError>(momentum >= 0.0f && momentum <= 1.0f, "batch_norm: momentum must lie in [0, 1], found {}",
                      momentum);
}

void check_training(const BatchNormShape& shape) {
  shape.check();
  require<ShapeError>(shape.rows >= 2,
                      "batch_norm x [{},{}]: training needs two values a channel or more; use a larger batch, or "
                      "evaluation mode",
                      shape.rows, shape.C);
}

}  // namespace striate
