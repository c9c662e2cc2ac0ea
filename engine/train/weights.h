#pragma once

#include <string>
#include <vector>

#include "engine/distributed/options.h"
#include "engine/nn/module.h"
#include "engine/train/safetensors.h"

namespace striate {

/// Every parameter and buffer of a network, in that order.
std::vector<NamedTensor> named_weights(const nn::Module& module);

/// Names, types and shapes of tensors.
std::vector<SafetensorsEntry> entries_of(const std::vector<NamedTensor>& tensors);

/// Throws ConfigError that lists every missing, unexpected and wrongly shaped tensor with the expected and found
/// shapes: `file` is a checkpoint of another model than `wanted`. `model`, where not empty, is what the file calls its
/// network.
void require_same_entries(const std::string& file, const std::string& model,
                          const std::vector<SafetensorsEntry>& wanted, const std::vector<SafetensorsEntry>& found);

/// The layout that a file's metadata names for its weights: "NHWC" is Striate's; empty, PyTorch's.
std::string stored_layout(const Metadata& metadata);

/// Writes named_weights() with `metadata` and "striate_layout": "NHWC". Metadata "model" names the network. Of several
/// ranks all call it, and it returns when the file is there: the first one writes it, with what is divided among them
/// put together.
void save_weights(const std::string& path, const nn::Module& module, Metadata metadata = {}, const Ranks& ranks = {});

/// Copies the tensors of a file in Striate's layout into the network and returns its metadata; of a parameter that is
/// divided among ranks, this one's rows. Nothing is changed
/// unless all of them fit (require_same_entries). Files of other programs are read by models/weights/.
Metadata load_weights(const std::string& path, nn::Module& module);
/// The same for a file that has been read already; `path` is for errors.
void copy_weights(const std::string& path, const Safetensors& file, nn::Module& module);

}  // namespace striate
