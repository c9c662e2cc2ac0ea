#include "kernels/dropout/dropout.h"
#include "kernels/error.h"

namespace striate {

void DropoutShape::check() const {
  require<ShapeError>(N >= 0 && features > 0, "dropout x [{},{}]: every size must be positive (the batch may be 0)", N,
                      features);
  require<ShapeError>(p >= 0.0f && p < 1.0f, "dropout: the probability of zero must lie in [0, 1), found {}", p);
}

}  // namespace striate
