#pragma once

#include <string>
#include <vector>

#include "engine/nn/module.h"
#include "engine/train/safetensors.h"

namespace striate {

/// Every parameter and buffer of a network, in that order.
std::vector<NamedTensor> named_weights(const nn::Module& module);

/// Writes named_weights() with `metadata` and "striate_layout": "NHWC". Metadata "model" names the network.
void save_weights(const std::string& path, const nn::Module& module, Metadata metadata = {});

/// Copies a file's tensors into the network and returns its metadata. Before anything is changed, a ConfigError lists
/// every missing, unexpected and wrongly shaped tensor with the expected and found shapes: a checkpoint of another
/// model.
Metadata load_weights(const std::string& path, nn::Module& module);

}  // namespace striate
