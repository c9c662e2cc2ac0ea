#pragma once

#include "kernels/conv2d/conv2d.h"

namespace striate {

/// The shape's own check, and ShapeError for an activation that cannot be fused.
void check_forward(const Conv2dShape& shape, Activation activation);

/// For cuda, whose kernels count in 32 bits: how many images one launch can take. ShapeError where a single one, or
/// the weights, are too large.
int64_t images_per_launch(const Conv2dShape& shape);

}  // namespace striate
