#pragma once

#include "kernels/activation/activation.h"

namespace striate {

/// Throws ShapeError unless add() can fuse the activation.
void check_fused_into_add(Activation activation);

}  // namespace striate
