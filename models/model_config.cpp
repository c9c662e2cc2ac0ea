#include "models/model_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

#include "engine/config.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/linear/linear.h"
#include "models/layer_list.h"
#include "models/registry.h"

namespace striate::models {
namespace {

const std::vector<std::string> kActivations = {"relu", "leaky_relu", "gelu", "silu"};

int64_t positive_or_zero(ConfigReader& reader, const std::string& key) {
  if (!reader.given(key)) return 0;
  const int64_t value = reader.get(key, 0);
  require<ConfigError>(value > 0, "{}: expected a positive number, found {}", reader.where(key), value);
  return value;
}

/// `conv` and `linear` choose between our kernels and the vendor's library, of which `missing` says what this build
/// lacks.
ops::Kernels kernels(ConfigReader& reader, const std::string& key, const std::string& vendor,
                     const std::string& missing) {
  const std::string value = reader.choice(key, "own", {"own", vendor});
  if (value == "own") return ops::Kernels::own;
  require<ConfigError>(missing.empty(), "{}: '{}' cannot be used: {}; or use 'own'", reader.where(key), value, missing);
  return ops::Kernels::vendor;
}

}  // namespace

Activation parse_activation(const std::string& name) {
  if (name == "relu") return Activation::relu;
  if (name == "leaky_relu") return Activation::leaky_relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu") return Activation::silu;
  const std::string near = nearest(name, kActivations);
  throw ConfigError(fmt::format("activation '{}' is not known{}; there are {}", name,
                                near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                fmt::join(kActivations, ", ")));
}

std::string to_string(DropoutPlace place) {
  return place == DropoutPlace::before_linear ? "before_linear" : "after_activation";
}

ModelConfig ModelConfig::parse(ConfigReader reader) {
  ModelConfig config;
  const bool has_layers = reader.has("layers"), has_name = reader.has("name");
  require<ConfigError>(has_layers || has_name, "{} must be given (or model.layers); there are {}", reader.where("name"),
                       fmt::join(model_names(), ", "));
  require<ConfigError>(!has_layers || !has_name, "{}: a model has a name or layers, not both", reader.where("layers"));
  if (has_name) config.name = reader.choice("name", "", model_names());

  config.num_classes = positive_or_zero(reader, "num_classes");
  config.in_channels = positive_or_zero(reader, "in_channels");
  const double dropout = reader.get("dropout", 0.5);
  require<ConfigError>(dropout >= 0.0 && dropout < 1.0, "{}: expected a probability in [0, 1), found {}",
                       reader.where("dropout"), dropout);
  config.dropout = static_cast<float>(dropout);
  config.activation = parse_activation(reader.choice("activation", "relu", kActivations));
  if (reader.given("init")) {
    try {
      config.init = nn::parse_init_scheme(reader.get("init", ""));
    } catch (const ConfigError& error) {
      throw ConfigError(fmt::format("{}: {}", reader.where("init"), error.what()));
    }
  }
  config.conv = kernels(reader, "conv", "cudnn", cudnn::missing());
  config.linear = kernels(reader, "linear", "cublas", cublas::missing());

  if (has_layers) {
    config.layers_name = reader.where("layers");
    config.layers = parse_layer_list(reader.list("layers"), config.dropout);
    require<ConfigError>(!config.layers.empty(), "{}: expected at least one layer", config.layers_name);
  } else {
    config.width = reader.get("width", 1.0);
    require<ConfigError>(config.width > 0.0 && config.width <= 16.0,
                         "{}: expected a factor above 0 and up to 16, found {}", reader.where("width"), config.width);
    const std::string place = reader.choice("dropout_place", "", {"before_linear", "after_activation"});
    if (place == "before_linear") config.dropout_place = DropoutPlace::before_linear;
    if (place == "after_activation") config.dropout_place = DropoutPlace::after_activation;
    const std::string stem = reader.choice("stem", "auto", {"auto", "imagenet", "cifar"});
    config.stem = stem == "imagenet" ? Stem::imagenet : stem == "cifar" ? Stem::cifar : Stem::automatic;
  }
  reader.finish();
  return config;
}

void ModelConfig::check_kernels(Device device, Precision precision) const {
  for (const auto& [choice, key, library] : {std::tuple{conv, "conv", "cudnn"}, {linear, "linear", "cublas"}}) {
    require<ConfigError>(choice == ops::Kernels::own || device == Device::cuda,
                         "model.{}: '{}' computes on device cuda, and the device is {}; use 'own'", key, library,
                         striate::to_string(device));
  }
  require<ConfigError>(conv == ops::Kernels::own || precision != Precision::bf16,
                       "model.conv: 'cudnn' has no bf16; use 'own', or train.precision fp32 or tf32");
}

std::string ModelConfig::kernels_notice() const {
  if (linear == ops::Kernels::own || gpu::built_for_gpu()) return "";
  return "Linear layers: this build is not for GPUs. The calls to cuBLAS are answered by our own product on the host.";
}

}  // namespace striate::models
