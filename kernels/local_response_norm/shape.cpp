#include "kernels/error.h"
#include "kernels/local_response_norm/local_response_norm.h"

namespace striate {

void LocalResponseNormShape::check() const {
  require<ShapeError>(rows >= 0 && C > 0,
                      "local_response_norm x [{},{}]: every size must be positive (the rows may be 0)", rows, C);
  require<ShapeError>(size > 0, "local_response_norm: the window must hold a channel or more, found {}", size);
  require<ShapeError>(k > 0.0f && alpha >= 0.0f,
                      "local_response_norm: k must be positive and alpha must not be negative, found k {} and alpha {}",
                      k, alpha);
}

}  // namespace striate
