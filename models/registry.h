#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/nn/init.h"
#include "engine/nn/module.h"
#include "models/model_config.h"

namespace striate::models {

/// A named model's own choices, where a configuration makes none.
struct ModelInfo {
  std::string name;
  std::string description;  ///< one line
  Shape input;              ///< [H,W,C]
  int64_t classes = 0;
  nn::InitScheme init = nn::InitScheme::pytorch;
  std::optional<DropoutPlace> dropout_place;  ///< empty: the model has no dropout
  bool imagenet = false;                      ///< meant for ImageNet's images, mean and deviation
};

/// Every named model, in the order of the documentation.
const std::vector<ModelInfo>& model_list();
std::vector<std::string> model_names();
/// Throws ConfigError naming the nearest.
const ModelInfo& model_info(const std::string& name);

/// The input [H,W,C] that a model is built for: `data` (the dataset's) where given, else the model's own with
/// `config.in_channels`. Throws ConfigError where `config.in_channels` contradicts the data, or where a list of layers
/// has no input.
Shape resolve_input(const ModelConfig& config, const Shape& data = {});
/// The number of classes: `config.num_classes`, which may exceed the data's but not be smaller (ConfigError), else
/// `data`, else the model's own. 0 for a list of layers with neither: its last layer says.
int64_t resolve_classes(const ModelConfig& config, int64_t data = 0);

/// The scheme that its weights are drawn by: `config.init`, else the model's own.
nn::InitScheme resolve_init(const ModelConfig& config);

/// The network on the cpu with every weight zero, for whoever loads weights next. `input` [H,W,C] and `classes` go
/// through resolve_…(). Throws ShapeError, naming the layer and the smallest size, where the input does not fit.
std::shared_ptr<nn::Module> make_model(const ModelConfig& config, const Shape& input = {}, int64_t classes = 0);

/// make_model() with weights drawn by `config.init`, or the model's own scheme, from `seed`. Move it by ->to(device).
std::shared_ptr<nn::Module> build_model(const ModelConfig& config, const Shape& input, int64_t classes, uint64_t seed);

}  // namespace striate::models
