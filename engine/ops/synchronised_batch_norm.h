#pragma once

#include "engine/tensor.h"
#include "kernels/batch_norm/batch_norm.h"

namespace striate {
class Communicator;
}

namespace striate::ops {

/// batch_norm() in training mode of the rows of all ranks together, which may have different numbers of them, or none.
/// The arguments are checked but for the rows: ShapeError on every rank where all have fewer than two.
Tensor synchronised_batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean,
                               Tensor& running_var, const BatchNormShape& shape, Communicator& ranks);

}  // namespace striate::ops
