#include "models/classifier.h"

#include <utility>

namespace striate::models {

LayeredClassifier::LayeredClassifier(std::string name, const LayerList& layers, const Shape& input, int64_t classes)
    : name_(std::move(name)) {
  const std::vector<Shape> outputs = check_input(name_, layers, input, classes);
  // Parts are filled before they are registered: registering numbers the dropout layers through the whole network.
  std::vector<std::pair<std::string, nn::ModulePtr>> parts;
  std::shared_ptr<nn::Sequential> part;
  for (size_t i = 0; i < layers.size(); ++i) {
    nn::ModulePtr module = make_layer(layers[i].layer, i == 0 ? input : outputs[i - 1], classes);
    const std::string& name_of_layer = layers[i].name;
    const size_t dot = name_of_layer.find('.');
    if (dot == std::string::npos) {
      parts.emplace_back(name_of_layer, std::move(module));
      continue;
    }
    const std::string part_name = name_of_layer.substr(0, dot);
    if (parts.empty() || parts.back().first != part_name) {
      part = std::make_shared<nn::Sequential>();
      parts.emplace_back(part_name, part);
    }
    part->add(name_of_layer.substr(dot + 1), std::move(module));
  }
  for (auto& [part_name, module] : parts) register_module(part_name, std::move(module));
}

Tensor LayeredClassifier::features(const Tensor& x) {
  Tensor y = x;
  for (size_t i = 0; i + 1 < children().size(); ++i) y = (*children()[i].second)(y);
  return y;
}

Tensor LayeredClassifier::classify(const Tensor& features) { return (*children().back().second)(features); }

}  // namespace striate::models
