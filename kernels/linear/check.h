#pragma once

#include "kernels/linear/linear.h"

namespace striate {

/// The shape's own check, and ShapeError for an activation that cannot be fused.
void check_forward(const LinearShape& shape, Activation activation);

/// For cuda, whose kernels count in 32 bits: ShapeError for a matrix of 2^31 floats or more.
void check_32_bit(const LinearShape& shape);

}  // namespace striate
