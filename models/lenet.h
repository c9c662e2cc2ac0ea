#pragma once

#include "models/family.h"
#include "models/layer.h"

namespace striate::models {

/// LeNet-5 (LeCun et al. 1998) as it is taught today: average pools, fully connected second convolution, and
/// `options.activation` for the tanh.
LayerList lenet(const FamilyOptions& options);

}  // namespace striate::models
