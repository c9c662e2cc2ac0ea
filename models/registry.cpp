#include "models/registry.h"

#include <fmt/ranges.h>

#include <functional>

#include "engine/config.h"
#include "engine/nn/layers.h"
#include "kernels/error.h"
#include "models/alexnet.h"
#include "models/classifier.h"
#include "models/lenet.h"
#include "models/resnet.h"

namespace striate::models {
namespace {

using nn::InitScheme;
using Maker = std::function<nn::ModulePtr(const FamilyOptions&)>;

struct Entry {
  ModelInfo info;
  Maker make;
};

Entry layered(const ModelInfo& info, LayerList (*layers)(const FamilyOptions&)) {
  return {info, [name = info.name, layers](const FamilyOptions& o) {
            return std::make_shared<LayeredClassifier>(name, layers(o), o.input, o.classes);
          }};
}

const std::vector<Entry>& entries() {
  constexpr auto kBefore = DropoutPlace::before_linear, kAfter = DropoutPlace::after_activation;
  static const std::vector<Entry> all = {
      layered({"alexnet", "torchvision's AlexNet", {224, 224, 3}, 1000, InitScheme::pytorch, kBefore, true}, alexnet),
      layered({"alexnet_owt",
               "AlexNet of 'One weird trick', 384 channels in conv4",
               {224, 224, 3},
               1000,
               InitScheme::pytorch,
               kAfter,
               true},
              alexnet_owt),
      layered({"alexnet_paper",
               "AlexNet of 2012: two groups, local response normalisation",
               {224, 224, 3},
               1000,
               InitScheme::paper,
               kAfter,
               true},
              alexnet_paper),
      layered({"alexnet_bn",
               "the paper's widths with one batch norm, for CIFAR-100 at 227",
               {227, 227, 3},
               100,
               InitScheme::pytorch,
               kAfter,
               false},
              alexnet_bn),
      layered({"alexnet_cifar",
               "a small AlexNet for 32x32 images",
               {32, 32, 3},
               10,
               InitScheme::kaiming_xavier,
               kBefore,
               false},
              alexnet_cifar),
      layered({"alexnet_mini",
               "two convolutions, two linear layers, for 32x32 images",
               {32, 32, 3},
               10,
               InitScheme::pytorch,
               kBefore,
               false},
              alexnet_mini),
      layered({"lenet", "LeNet-5", {32, 32, 3}, 10, InitScheme::pytorch, std::nullopt, false}, lenet),
      {{"resnet18",
        "ResNet-18; its stem depends on the input size",
        {224, 224, 3},
        1000,
        InitScheme::pytorch,
        std::nullopt,
        true},
       [](const FamilyOptions& o) { return std::make_shared<ResNet18>(o); }}};
  return all;
}

const Entry& entry(const std::string& name) {
  for (const Entry& e : entries()) {
    if (e.info.name == name) return e;
  }
  const std::string near = nearest(name, model_names());
  throw ConfigError(fmt::format("no model '{}'{}; there are {}", name,
                                near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                fmt::join(model_names(), ", ")));
}

nn::ModulePtr make_from_list(const ModelConfig& config, const Shape& input, int64_t classes) {
  const std::vector<Shape> shapes = check_input(config.layers_name, config.layers, input, classes);
  require<ConfigError>(
      shapes.back().size() == 1 && (classes == 0 || shapes.back()[0] == classes),
      "{}: the last layer, {} ({}), gives {} values a sample; expected one for each of {} classes: end "
      "with `linear`, which takes their number",
      config.layers_name, config.layers.back().name, type_name(config.layers.back().layer),
      striate::to_string(shapes.back()), classes > 0 ? fmt::format("{}", classes) : "the");
  auto network = std::make_shared<nn::Sequential>();
  for (size_t i = 0; i < config.layers.size(); ++i) {
    network->add(config.layers[i].name, make_layer(config.layers[i].layer, i == 0 ? input : shapes[i - 1], classes));
  }
  return network;
}

void choose_kernels(nn::Module& model, const ModelConfig& config) {
  for (const nn::NamedModule& named : model.named_modules()) {
    if (auto* conv = dynamic_cast<nn::Conv2d*>(named.module)) conv->use(config.conv);
    if (auto* linear = dynamic_cast<nn::Linear*>(named.module)) linear->use(config.linear);
  }
}

nn::ModulePtr make_layers(const ModelConfig& config, const Shape& input, int64_t outputs) {
  if (config.name.empty()) return make_from_list(config, input, outputs);
  const Entry& e = entry(config.name);
  require<ConfigError>(!config.dropout_place || e.info.dropout_place,
                       "model.dropout_place: {} has no dropout that could be placed", config.name);
  require<ConfigError>(config.stem == Stem::automatic || config.name == "resnet18",
                       "model.stem: only resnet18 has a choice of stem, {} has not", config.name);
  FamilyOptions options;
  options.input = input;
  options.classes = outputs;
  options.width = config.width;
  options.dropout = config.dropout;
  options.dropout_place = config.dropout_place.value_or(e.info.dropout_place.value_or(DropoutPlace::before_linear));
  options.activation = config.activation;
  options.stem = config.stem;
  return e.make(options);
}

}  // namespace

const std::vector<ModelInfo>& model_list() {
  static const std::vector<ModelInfo> infos = [] {
    std::vector<ModelInfo> list;
    for (const Entry& e : entries()) list.push_back(e.info);
    return list;
  }();
  return infos;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const ModelInfo& info : model_list()) names.push_back(info.name);
  return names;
}

const ModelInfo& model_info(const std::string& name) { return entry(name).info; }

Shape resolve_input(const ModelConfig& config, const Shape& data) {
  Shape input = data;
  if (input.empty()) {
    require<ConfigError>(!config.name.empty(), "{}: a list of layers needs an input size (H,W,C)", config.layers_name);
    input = model_info(config.name).input;
    if (config.in_channels > 0) input[2] = config.in_channels;
  }
  require<ConfigError>(input.size() == 3 && input[0] > 0 && input[1] > 0 && input[2] > 0,
                       "model input: expected H,W,C, all positive, found {}", striate::to_string(input));
  require<ConfigError>(config.in_channels == 0 || config.in_channels == input[2],
                       "model.in_channels is {}, but the images have {} channels; change it, or data.channels",
                       config.in_channels, input[2]);
  return input;
}

int64_t resolve_classes(const ModelConfig& config, int64_t data) {
  require<ConfigError>(config.num_classes == 0 || config.num_classes >= data,
                       "model.num_classes is {}, but the data has {} classes", config.num_classes, data);
  if (config.num_classes > 0) return config.num_classes;
  if (data > 0) return data;
  return config.name.empty() ? 0 : model_info(config.name).classes;
}

InitScheme resolve_init(const ModelConfig& config) {
  return config.init.value_or(config.name.empty() ? InitScheme::pytorch : model_info(config.name).init);
}

std::shared_ptr<nn::Module> make_model(const ModelConfig& config, const Shape& input, int64_t classes) {
  nn::ModulePtr model = make_layers(config, resolve_input(config, input), resolve_classes(config, classes));
  choose_kernels(*model, config);
  return model;
}

std::shared_ptr<nn::Module> build_model(const ModelConfig& config, const Shape& input, int64_t classes, uint64_t seed) {
  std::shared_ptr<nn::Module> model = make_model(config, input, classes);
  nn::InitOptions init;
  init.scheme = resolve_init(config);
  nn::initialize(*model, init, seed);
  return model;
}

}  // namespace striate::models
