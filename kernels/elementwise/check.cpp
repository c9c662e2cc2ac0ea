#include "kernels/elementwise/check.h"

#include "kernels/error.h"

namespace striate {

void check_fused_into_add(Activation activation) {
  require<ShapeError>(derivative_from_output(activation),
                      "add: only an activation whose derivative follows from its output can be fused");
}

}  // namespace striate
