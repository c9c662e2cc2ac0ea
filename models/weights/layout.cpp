#include "models/weights/layout.h"

#include <utility>

#include "engine/nn/layers.h"
#include "engine/storage.h"
#include "engine/train/weights.h"
#include "kernels/error.h"
#include "models/observed_forward.h"

namespace striate::models {
namespace {

/// Follows images through one forward until they meet a linear layer.
class ImageTracker : public nn::ForwardObserver {
 public:
  explicit ImageTracker(nn::Module& model) {
    for (const nn::NamedModule& named : model.named_modules()) names_[named.module] = named.name;
  }

  void observe(nn::Module& module, const Tensor& input, const Tensor& output) override {
    alive_.push_back(input);  // so that no address is used twice
    alive_.push_back(output);
    remember(input);
    const auto flattened = images_.find(address(input));
    if (input.rank() == 2 && flattened != images_.end() && module.children().empty()) {
      const Shape image = flattened->second;
      if (dynamic_cast<nn::Linear*>(&module) != nullptr) {
        behind_flatten_[names_.at(&module)] = image;
        return;
      }
      require<ConfigError>(module.own_parameters().empty(),
                           "{} ({}): has weights for flattened pixels, and only linear layers are known to be "
                           "permuted between our layout and PyTorch's",
                           names_.at(&module), module.description());
      images_[address(output)] = image;  // dropout, activation: value by value
    }
    remember(output);
  }

  /// [H,W,C] of what each linear layer sees flattened, by the layer's name.
  const std::map<std::string, Shape>& behind_flatten() const { return behind_flatten_; }

 private:
  static const void* address(const Tensor& values) { return std::as_const(*values.impl()->storage).data(); }
  void remember(const Tensor& values) {
    const Shape& shape = values.shape();
    if (shape.size() == 4) images_[address(values)] = {shape[1], shape[2], shape[3]};
  }

  std::map<const nn::Module*, std::string> names_;
  std::map<const void*, Shape> images_;  // a flatten is a view: its values are the image's
  std::map<std::string, Shape> behind_flatten_;
  std::vector<Tensor> alive_;
};

/// values [rows, a, b] → [rows, b, a].
Tensor exchange(const Tensor& values, int64_t a, int64_t b, const Shape& shape) {
  const Tensor host = values.detach().to(Device::cpu);
  Tensor result = Tensor::empty(shape);
  const float* from = host.data<float>();
  float* to = result.data<float>();
  for (int64_t begin = 0; begin < host.size(); begin += a * b) {
    for (int64_t i = 0; i < a; ++i) {
      for (int64_t j = 0; j < b; ++j) to[begin + j * a + i] = from[begin + i * b + j];
    }
  }
  return result;
}

}  // namespace

PyTorchLayout::PyTorchLayout(nn::Module& model, const Shape& input) {
  for (const nn::NamedModule& named : model.named_modules()) {
    if (dynamic_cast<nn::Conv2d*>(named.module) == nullptr) continue;
    const Shape& shape = dynamic_cast<nn::Conv2d&>(*named.module).weight.shape();  // [K,R,S,C/groups]
    exchanged_[named.name + ".weight"] = {shape[1] * shape[2], shape[3]};
  }
  ImageTracker tracker(model);
  observed_forward(model, input, tracker);
  for (const auto& [name, image] : tracker.behind_flatten()) {
    exchanged_[name + ".weight"] = {image[0] * image[1], image[2]};
  }
  for (const NamedTensor& weight : named_weights(model)) {
    shapes_[weight.name] = weight.tensor.shape();
    entries_.push_back({weight.name, weight.tensor.dtype(), pytorch_shape(weight)});
  }
}

Shape PyTorchLayout::pytorch_shape(const NamedTensor& weight) const {
  const Shape& shape = weight.tensor.shape();
  if (exchanged_.count(weight.name) == 0 || shape.size() != 4) return shape;
  return {shape[0], shape[3], shape[1], shape[2]};
}

Tensor PyTorchLayout::to_pytorch(const NamedTensor& weight) const {
  const auto it = exchanged_.find(weight.name);
  if (it == exchanged_.end()) return weight.tensor.detach().to(Device::cpu);
  return exchange(weight.tensor, it->second.pixels, it->second.channels, pytorch_shape(weight));
}

Tensor PyTorchLayout::from_pytorch(const NamedTensor& weight) const {
  const auto it = exchanged_.find(weight.name);
  if (it == exchanged_.end()) return weight.tensor;
  return exchange(weight.tensor, it->second.channels, it->second.pixels, shapes_.at(weight.name));
}

}  // namespace striate::models
