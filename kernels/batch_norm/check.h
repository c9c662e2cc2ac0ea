#pragma once

#include "kernels/batch_norm/batch_norm.h"

namespace striate {

/// The shape's own check, and ShapeError for fewer than two rows, from which no variance follows.
void check_training(const BatchNormShape& shape);

}  // namespace striate
