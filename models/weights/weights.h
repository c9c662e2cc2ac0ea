#pragma once

#include <string>

#include "engine/nn/module.h"
#include "engine/train/weights.h"

/// Weights from and for other programs (docs/weights.md).
namespace striate::models {

/// Copies a file's weights into the network and returns the file's metadata. By what the file holds, whatever its name:
///   safetensors with Striate's layout in the metadata     as it is
///   other safetensors, files of torch.save (.pth, .pt)    in PyTorch's layout: permuted (PyTorchLayout)
/// Of PyTorch's, num_batches_tracked is left out. Nothing is changed unless all tensors fit; the ConfigError lists
/// every missing, unexpected and wrongly shaped one. IoError for files that are damaged, or hold anything but tensors.
/// `input` [H,W,C] is what the network is built for.
Metadata load_weights(const std::string& path, nn::Module& model, const Shape& input);

/// Writes safetensors with PyTorch's names and layout, which load_state_dict takes, and `metadata`.
void save_pytorch_weights(const std::string& path, nn::Module& model, const Shape& input, Metadata metadata = {});

}  // namespace striate::models
