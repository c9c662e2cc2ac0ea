#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/nn/module.h"
#include "engine/train/safetensors.h"

namespace striate::models {

/// How a network's weights lie in PyTorch, whose images are NCHW. Two kinds of tensors lie otherwise than ours:
///   convolution                  ours [K,R,S,C/groups]             PyTorch [K,C/groups,R,S]
///   linear layer behind flatten  columns in the order of [H,W,C]   columns in the order of [C,H,W]
/// Both are pixels and channels exchanged within each of the K rows. The linear layers are found by one forward of
/// zeros, whatever the network.
class PyTorchLayout {
 public:
  /// `input` [H,W,C]. Runs on the model's own device, in evaluation mode (the former mode is restored). Throws
  /// ConfigError where a layer with weights stands between a flatten and its linear layer, ShapeError where the input
  /// does not fit.
  PyTorchLayout(nn::Module& model, const Shape& input);

  /// Every weight's name, type and shape as PyTorch has them, parameters before buffers.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  /// Copies on the host in the other layout. `weight` has the shape that it should.
  Tensor to_pytorch(const NamedTensor& weight) const;
  Tensor from_pytorch(const NamedTensor& weight) const;

 private:
  struct Exchange {
    int64_t pixels = 1, channels = 1;
  };
  Shape pytorch_shape(const NamedTensor& weight) const;

  std::map<std::string, Exchange> exchanged_;  // by the weight's name
  std::map<std::string, Shape> shapes_;        // ours
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace striate::models
