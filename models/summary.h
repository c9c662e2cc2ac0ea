#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/nn/module.h"

namespace striate::models {

struct LayerSummary {
  std::string name;         ///< "features.0"
  std::string type;         ///< "Conv2d"
  std::string description;  ///< "Conv2d(3, 64, kernel 11, stride 4, padding 2)"
  std::string short_form;   ///< "conv 64@11×11 s4 p2"; empty for activations and flattening
  Shape output;             ///< of the whole batch
  int64_t parameters = 0;
  int64_t macs = 0;  ///< multiply–accumulates of a forward, one image
};

struct ModelSummary {
  Shape input;  ///< [H,W,C]
  int64_t batch = 1;
  std::vector<LayerSummary> layers;  ///< those without children, in the order they run
  int64_t parameters = 0;
  int64_t macs = 0;  ///< one image
  /// What a forward keeps for its backward, for the batch: inputs of weighted layers, signs, pooling indices.
  int64_t activation_bytes = 0;
  /// The most a training step holds: weights and, with precision bf16, their rounded copies, gradients, one momentum,
  /// activations as they are freed, and the two gradients of the layer at work. Kernels' scratch memory and the
  /// loader's batches are not in it.
  int64_t training_bytes = 0;
};

/// The network in a line, as papers and courses give it: "conv 32@5×5 p2, pool 2, …, dropout, fc 4096→128, fc 10".
/// Strides and paddings are named where they are not 1 and 0, a pool's stride where it is not its window; activations
/// are left out.
std::string one_line(const ModelSummary& summary);

/// Runs one image of zeros through the model on its own device, in its precision and in evaluation mode (the former
/// mode is restored).
ModelSummary summarize(nn::Module& model, const Shape& input, int64_t batch = 1);

}  // namespace striate::models
