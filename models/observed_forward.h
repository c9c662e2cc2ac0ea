#pragma once

#include <functional>

#include "engine/nn/module.h"

namespace striate::models {

/// Runs one image of zeros [1,H,W,C] through the model on its own device, in evaluation mode (the former mode is
/// restored) and with no gradients, under an observer. `begin`, where given, sees the image first. Returns the output.
/// Throws ShapeError where `input` is not [H,W,C] or does not fit.
Tensor observed_forward(nn::Module& model, const Shape& input, nn::ForwardObserver& observer,
                        const std::function<void(const Tensor&)>& begin = {});

}  // namespace striate::models
