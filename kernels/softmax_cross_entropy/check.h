#pragma once

#include <cstdint>

#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace striate {

/// Throws ShapeError, naming the first sample whose label does not lie in [0, classes).
void check_labels(const int32_t* labels, const SoftmaxCrossEntropyShape& shape);

}  // namespace striate
