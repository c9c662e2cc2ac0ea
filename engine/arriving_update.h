#pragma once

#include <cstdint>

#include "kernels/optimizer/optimizer.h"

namespace striate {

struct TensorImpl;

/// An optimizer's step for one parameter, left on its storage for the op that computes its gradient: that may move the
/// values at once, piece by piece, and never write the gradient down. Ops recorded before it was left don't see it.
struct ArrivingUpdate {
  UpdateRule rule;
  ParameterUpdate<float> parameter;  ///< w and rounded are set as it is made; g is null
  TensorImpl* tensor = nullptr;  ///< the parameter itself: others may share its storage, with gradients of their own
  int64_t uses = 0;              ///< recorded ops that took the values: with more than one the gradient is a sum
  bool done = false;             ///< the values and the optimizer's state are the next step's
};

}  // namespace striate
