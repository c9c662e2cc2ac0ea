#pragma once

#include <vector>

#include "models/layer.h"

namespace striate {
class ConfigReader;
}

namespace striate::models {

/// The items of `model.layers`, named "0", "1", …: each a type alone or {type: options}. Sizes are a number or [h, w].
///   conv                 {channels, kernel, stride: 1, padding: 0, dilation: 1, groups: 1, bias: true}
///   linear               {features: (the number of classes), bias: true}, or the features
///   max_pool, avg_pool   {kernel, stride: (kernel), padding: 0}, or the kernel
///   adaptive_avg_pool    {size: 1}, or the size
///   dropout              {p: model.dropout}, or p
///   batch_norm           {momentum: 0.1, epsilon: 1e-5}
///   local_response_norm  {size: 5, k: 2, alpha: 1e-4, beta: 0.75, divide_alpha: false}
///   relu, leaky_relu, gelu, silu, flatten
/// Throws ConfigError with file, line and key.
LayerList parse_layer_list(std::vector<ConfigReader> items, float dropout);

}  // namespace striate::models
