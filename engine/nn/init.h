#pragma once

#include <cstdint>
#include <string>

#include "engine/nn/module.h"

namespace striate::nn {

/// How the parameters of a network start. Convolutions and linear layers only; batch norm starts at gamma 1, beta 0 in
/// each.
///   pytorch         weights and biases U(−1/√fan_in, 1/√fan_in): what torch.nn.Conv2d and Linear do
///   kaiming_normal  weights N(0, 2/fan_in), biases 0                         (He et al. 2015)
///   kaiming_uniform weights U(±√(6/fan_in)), biases 0
///   xavier_normal   weights N(0, gain²·2/(fan_in + fan_out)), biases 0       (Glorot & Bengio 2010)
///   xavier_uniform  weights U(±gain·√(6/(fan_in + fan_out))), biases 0
///   normal          weights N(0, std²), biases 0
///   paper           weights N(0, 0.01²); biases 1 in the second, fourth and fifth convolution and in every linear
///   layer
///                   but the last, else 0                                     (Krizhevsky et al. 2012, §5)
///   kaiming_xavier  kaiming_normal convolutions, xavier_normal linear layers with gain √2
enum class InitScheme {
  pytorch,
  kaiming_normal,
  kaiming_uniform,
  xavier_normal,
  xavier_uniform,
  normal,
  paper,
  kaiming_xavier
};

struct InitOptions {
  InitScheme scheme = InitScheme::pytorch;
  float gain = 1.0f;  ///< xavier
  float std = 0.01f;  ///< normal
};

/// Throws ConfigError naming the nearest scheme.
InitScheme parse_init_scheme(const std::string& name);
std::string to_string(InitScheme scheme);

/// Fills the weights and biases of convolutions and linear layers, each from (seed, its place among those alone).
void initialize(Module& module, const InitOptions& options, uint64_t seed);

}  // namespace striate::nn
