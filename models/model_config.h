#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/nn/init.h"
#include "models/layer.h"

namespace striate {
class ConfigReader;
}

namespace striate::models {

/// Where the dropout of the hidden linear layers stands: before each of them (torchvision's AlexNet), or after their
/// activations (the paper's text, and courses after it). Parameter names are the same.
enum class DropoutPlace { before_linear, after_activation };

std::string to_string(DropoutPlace place);

/// ResNet's first layers: 7×7 stride 2 and a max-pool, or one 3×3 for small images; `automatic` takes the latter for
/// inputs up to 64 pixels.
enum class Stem { automatic, imagenet, cifar };

/// The `model:` section.
struct ModelConfig {
  std::string name;         ///< of the registry; or
  LayerList layers;         ///< `layers: [...]`, named "0", "1", …
  std::string layers_name;  ///< where the list stands, for errors: "net.yaml:3: model.layers"

  int64_t num_classes = 0;  ///< 0: the dataset's
  int64_t in_channels = 0;  ///< 0: the dataset's
  double width = 1.0;       ///< multiplies the channels and hidden features of a named model
  float dropout = 0.5f;     ///< probability of every dropout layer; nothing where the model has none
  Activation activation = Activation::relu;
  std::optional<DropoutPlace> dropout_place;  ///< empty: the model's
  std::optional<nn::InitScheme> init;         ///< empty: the model's
  Stem stem = Stem::automatic;
  ops::Kernels conv = ops::Kernels::own, linear = ops::Kernels::own;  ///< vendor: "cudnn", "cublas"

  /// Throws ConfigError, with file, line and key, for unknown keys, values out of range, and what this build lacks.
  static ModelConfig parse(ConfigReader reader);
  /// Throws ConfigError for a vendor's kernels on a device or in a precision that they do not have.
  void check_kernels(Device device, Precision precision) const;
  /// A sentence for whoever asked for kernels that this build answers otherwise; empty where there is nothing to say.
  std::string kernels_notice() const;
};

/// "relu", "leaky_relu", "gelu", "silu". Throws ConfigError naming the nearest.
Activation parse_activation(const std::string& name);

}  // namespace striate::models
