// Follows one forward: every layer that runs becomes the operators that do the same to NCHW images. Values are known by
// the tensors that the forward hands from layer to layer.

#include "models/weights/onnx.h"

#include <map>
#include <utility>

#include "engine/nn/layers.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "models/observed_forward.h"
#include "models/resnet.h"
#include "models/weights/layout.h"
#include "models/weights/onnx_graph.h"

namespace striate::models {
namespace {

constexpr const char* kInput = "images";
constexpr const char* kOutput = "logits";

/// [size, bins]: column b averages the pixels of bin b, as adaptive pooling has them along one axis.
Tensor averaging_matrix(int64_t size, int64_t bins) {
  Tensor matrix = Tensor::zeros({size, bins});
  for (int64_t b = 0; b < bins; ++b) {
    const int64_t first = b * size / bins, last = ((b + 1) * size + bins - 1) / bins;
    for (int64_t i = first; i < last; ++i) {
      matrix.data<float>()[i * bins + b] = 1.0f / static_cast<float>(last - first);
    }
  }
  return matrix;
}

Tensor transposed(const Tensor& matrix) {
  const int64_t rows = matrix.dim(0), columns = matrix.dim(1);
  Tensor result = Tensor::empty({columns, rows});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      result.data<float>()[c * rows + r] = matrix.data<float>()[r * columns + c];
    }
  }
  return result;
}

class Exporter : public nn::ForwardObserver {
 public:
  Exporter(nn::Module& model, const Shape& input) : layout_(model, input) {
    for (const nn::NamedModule& named : model.named_modules()) names_[named.module] = named.name;
    graph_.set_input(kInput, {input[2], input[0], input[1]});
  }

  void begin(const Tensor& images) { know(images, kInput); }

  void observe(nn::Module& module, const Tensor& input, const Tensor& output) override {
    if (const auto* block = dynamic_cast<const BasicBlock*>(&module)) {
      know(output, add_block(*block, module, value(input)));
    } else if (!module.children().empty() || values_.count(output.impl().get()) > 0) {
      // A container, or dropout, which hands its input on.
      require<ConfigError>(values_.count(output.impl().get()) > 0, "{}: computes something of its own, {}",
                           described(module), kNoForm);
    } else {
      know(output, add_layer(module, value(input), input.shape(), output.shape()));
    }
    made_by_[&module] = value(output);
  }

  std::string finish(const Tensor& logits, const std::string& name, const Metadata& metadata) {
    Shape shape = logits.shape();
    shape.erase(shape.begin());
    graph_.set_output(value(logits), kOutput, shape);
    return graph_.serialize(name, metadata);
  }

 private:
  static constexpr const char* kNoForm = "for which there is no ONNX form here";

  const std::string& value(const Tensor& tensor) const {
    const auto it = values_.find(tensor.impl().get());
    require<ConfigError>(it != values_.end(), "a layer sees values that no layer made, {}", kNoForm);
    return it->second;
  }
  void know(const Tensor& tensor, const std::string& name) {
    alive_.push_back(tensor);  // so that no address is used twice
    values_[tensor.impl().get()] = name;
  }
  std::string described(const nn::Module& module) const {
    return fmt::format("{} ({})", names_.at(&module), module.description());
  }

  /// The module's own weight or buffer as a constant, in PyTorch's layout.
  std::string weight(const std::string& module, const char* name, const Tensor& values) {
    const std::string full = module.empty() ? name : module + "." + name;
    return graph_.add_constant(full, layout_.to_pytorch({full, values}));
  }
  std::string scalar(const char* name, float value) { return graph_.add_constant(name, Tensor::full({}, value)); }

  std::string add(const std::string& name, const char* op, const std::vector<std::string>& inputs,
                  const OnnxGraph::Attributes& attributes = {}) {
    graph_.add_node(name, op, inputs, attributes);
    return name;
  }

  std::string add_layer(const nn::Module& module, const std::string& x, const Shape& input, const Shape& output) {
    const std::string& name = names_.at(&module);
    if (const auto* conv = dynamic_cast<const nn::Conv2d*>(&module)) return add_conv(name, *conv, x);
    if (const auto* linear = dynamic_cast<const nn::Linear*>(&module)) {
      std::vector<std::string> inputs{x, weight(name, "weight", linear->weight)};
      if (linear->bias.defined()) inputs.push_back(weight(name, "bias", linear->bias));
      return add(name, "Gemm", inputs, {{}, {{"transB", 1}}, {}});
    }
    if (const auto* norm = dynamic_cast<const nn::BatchNorm2d*>(&module)) {
      return add(name, "BatchNormalization",
                 {x, weight(name, "weight", norm->weight), weight(name, "bias", norm->bias),
                  weight(name, "running_mean", norm->running_mean), weight(name, "running_var", norm->running_var)},
                 {{}, {}, {{"epsilon", norm->epsilon()}}});
    }
    if (const auto* pool = dynamic_cast<const nn::MaxPool2d*>(&module)) {
      return add(name, "MaxPool", {x}, {windows(pool->options()), {}, {}});
    }
    if (const auto* pool = dynamic_cast<const nn::AvgPool2d*>(&module)) {
      return add(name, "AveragePool", {x}, {windows(pool->options()), {{"count_include_pad", 1}}, {}});
    }
    if (dynamic_cast<const nn::AdaptiveAvgPool2d*>(&module) != nullptr) return add_adaptive(name, x, input, output);
    if (const auto* norm = dynamic_cast<const nn::LocalResponseNorm*>(&module)) return add_lrn(module, *norm, x);
    if (const auto* layer = dynamic_cast<const nn::ActivationLayer*>(&module)) {
      return add_activation(name, layer->activation(), x);
    }
    if (dynamic_cast<const nn::Flatten*>(&module) != nullptr) return add(name, "Flatten", {x}, {{}, {{"axis", 1}}, {}});
    throw ConfigError(fmt::format("{}: a layer {}", described(module), kNoForm));
  }

  std::string add_conv(const std::string& name, const nn::Conv2d& conv, const std::string& x) {
    const nn::Conv2d::Options& o = conv.options();
    const ops::Conv2dOptions& g = o.geometry;
    std::vector<std::string> inputs{x, weight(name, "weight", conv.weight)};
    if (o.bias) inputs.push_back(weight(name, "bias", conv.bias));
    return add(name, "Conv", inputs,
               {{{"kernel_shape", {o.kernel_h, o.kernel_w}},
                 {"strides", {g.stride_h, g.stride_w}},
                 {"pads", {g.pad_h, g.pad_w, g.pad_h, g.pad_w}},
                 {"dilations", {g.dilation_h, g.dilation_w}}},
                {{"group", g.groups}},
                {}});
  }

  static OnnxGraph::Integers windows(const ops::Pool2dOptions& o) {
    return {{"kernel_shape", {o.window_h, o.window_w}},
            {"strides", {o.stride_h, o.stride_w}},
            {"pads", {o.pad_h, o.pad_w, o.pad_h, o.pad_w}}};
  }

  std::string add_adaptive(const std::string& name, const std::string& x, const Shape& input, const Shape& output) {
    const int64_t height = input[1], width = input[2], rows = output[1], columns = output[2];
    if (rows == height && columns == width) return x;
    if (rows == 1 && columns == 1) return add(name, "GlobalAveragePool", {x});
    if (height % rows == 0 && width % columns == 0) {
      const std::vector<int64_t> window{height / rows, width / columns};
      return add(name, "AveragePool", {x}, {{{"kernel_shape", window}, {"strides", window}}, {}, {}});
    }
    // Bins of different sizes: an average along one axis, then along the other.
    const std::string along_width = graph_.add_constant(name + "/width", averaging_matrix(width, columns));
    const std::string along_height = graph_.add_constant(name + "/height", transposed(averaging_matrix(height, rows)));
    return add(name, "MatMul", {along_height, add(name + "/columns", "MatMul", {x, along_width})});
  }

  /// ONNX sums over c − ⌊(n − 1)/2⌋ … c + ⌈(n − 1)/2⌉ and multiplies the sum by α/n.
  std::string add_lrn(const nn::Module& module, const nn::LocalResponseNorm& norm, const std::string& x) {
    const ops::LocalResponseNormOptions& o = norm.options();
    require<ConfigError>(o.size % 2 == 1, "{}: an even size, whose window ONNX places otherwise", described(module));
    const float alpha = o.divide_alpha ? o.alpha : o.alpha * static_cast<float>(o.size);
    return add(names_.at(&module), "LRN", {x},
               {{}, {{"size", o.size}}, {{"alpha", alpha}, {"beta", o.beta}, {"bias", o.k}}});
  }

  std::string add_activation(const std::string& name, Activation activation, const std::string& x) {
    switch (activation) {
      case Activation::none:
        return x;
      case Activation::relu:
        return add(name, "Relu", {x});
      case Activation::leaky_relu:
        return add(name, "LeakyRelu", {x}, {{}, {}, {{"alpha", kLeakySlope}}});
      case Activation::silu:
        return add(name, "Mul", {x, add(name + "/sigmoid", "Sigmoid", {x})});
      case Activation::gelu: {
        // x · (erf(x/√2) + 1) · ½; ONNX's own Gelu came with opset 20.
        const std::string scaled = add(name + "/scaled", "Mul", {x, scalar("gelu/inverse_sqrt_2", 0.70710678f)});
        const std::string erf = add(name + "/erf", "Erf", {scaled});
        const std::string sum = add(name + "/sum", "Add", {erf, scalar("gelu/one", 1.0f)});
        const std::string twice = add(name + "/twice", "Mul", {x, sum});
        return add(name, "Mul", {twice, scalar("gelu/half", 0.5f)});
      }
    }
    throw ConfigError(fmt::format("{}: an activation {}", name, kNoForm));
  }

  /// The sum and the activation; the layers before them have been seen.
  std::string add_block(const BasicBlock& block, nn::Module& module, const std::string& x) {
    std::string residual, shortcut = x;
    for (const auto& [child_name, child] : module.children()) {
      if (child_name == "bn2") residual = made_by_.at(child.get());
      if (child_name == "downsample") shortcut = made_by_.at(child.get());
    }
    const std::string& name = names_.at(&module);
    const std::string sum = add(name + "/sum", "Add", {residual, shortcut});
    return add_activation(name, block.activation(), sum);
  }

  PyTorchLayout layout_;
  OnnxGraph graph_;
  std::map<const nn::Module*, std::string> names_, made_by_;
  std::map<const TensorImpl*, std::string> values_;
  std::vector<Tensor> alive_;
};

}  // namespace

void save_onnx(const std::string& path, nn::Module& model, const Shape& input, const Metadata& metadata) {
  require<ConfigError>(!model.children().empty(), "{}: a network of layers is needed for ONNX", model.description());
  Exporter exporter(model, input);
  const Tensor logits = observed_forward(model, input, exporter, [&](const Tensor& image) { exporter.begin(image); });
  write_file_atomically(path, exporter.finish(logits, model.type(), metadata));
}

}  // namespace striate::models
