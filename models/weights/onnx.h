#pragma once

#include <string>

#include "engine/nn/module.h"
#include "engine/train/safetensors.h"

namespace striate::models {

/// Writes a network and its weights as ONNX (opset 17), for inference: input "images" [batch,C,H,W], output "logits"
/// [batch,classes] with no softmax, the batch of any size, dropout left out. Initializers are called and lie as in
/// PyTorch; `metadata` goes into the file's properties. `input` is [H,W,C]. The graph is what one forward of zeros
/// does. Throws ConfigError for layers that ONNX has no form for and for weights beyond protobuf's 2 GB, IoError where
/// the file cannot be written; it then stays as it was.
void save_onnx(const std::string& path, nn::Module& model, const Shape& input, const Metadata& metadata = {});

}  // namespace striate::models
