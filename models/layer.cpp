#include "models/layer.h"

#include "engine/nn/layers.h"
#include "kernels/error.h"
#include "kernels/shapes.h"

namespace striate::models {
namespace {

constexpr int64_t kLargestSizeTried = 1024;

/// A layer to be asked about one input [H,W,C] or [features].
struct Geometry {
  const Shape& input;
  int64_t classes;

  void require_image() const {
    require<ShapeError>(input.size() == 3, "expected an image [H,W,C], found {}", striate::to_string(input));
  }

  Conv2dShape shape(const ConvLayer& layer) const {
    require_image();
    const ops::Conv2dOptions& g = layer.geometry;
    const Conv2dShape shape{1,          input[0],   input[1], input[2], layer.channels, layer.kernel_h, layer.kernel_w,
                            g.stride_h, g.stride_w, g.pad_h,  g.pad_w,  g.dilation_h,   g.dilation_w,   g.groups};
    shape.check();
    return shape;
  }

  Pool2dShape shape(const ops::Pool2dOptions& p) const {
    require_image();
    const Pool2dShape shape{1,          input[0],   input[1],   input[2], p.window_h,
                            p.window_w, p.stride_h, p.stride_w, p.pad_h,  p.pad_w};
    shape.check();
    return shape;
  }

  int64_t features(const LinearLayer& layer) const {
    require<ShapeError>(input.size() == 1, "expected flat features, found an image {}; put `flatten` before it",
                        striate::to_string(input));
    require<ShapeError>(layer.features >= 0 && (layer.features > 0 || classes > 0),
                        "expected a positive number of features, found {}",
                        layer.features != 0 ? layer.features : classes);
    return layer.features > 0 ? layer.features : classes;
  }
};

struct OutputShape : Geometry {
  Shape operator()(const ConvLayer& layer) const {
    const Conv2dShape s = shape(layer);
    return {s.P(), s.Q(), s.K};
  }
  Shape operator()(const LinearLayer& layer) const { return {features(layer)}; }
  Shape operator()(const MaxPoolLayer& layer) const { return pooled(layer.pool); }
  Shape operator()(const AvgPoolLayer& layer) const { return pooled(layer.pool); }
  Shape operator()(const AdaptiveAvgPoolLayer& layer) const {
    require_image();
    AdaptivePool2dShape{1, input[0], input[1], input[2], layer.height, layer.width}.check();
    return {layer.height, layer.width, input[2]};
  }
  Shape operator()(const BatchNormLayer&) const {
    require_image();
    return input;
  }
  Shape operator()(const LocalResponseNormLayer&) const {
    require_image();
    return input;
  }
  Shape operator()(const FlattenLayer&) const { return {element_count(input)}; }
  Shape operator()(const ActivationLayer&) const { return input; }
  Shape operator()(const DropoutLayer&) const { return input; }

  Shape pooled(const ops::Pool2dOptions& pool) const {
    const Pool2dShape s = shape(pool);
    return {s.P(), s.Q(), s.C};
  }
};

struct MakeLayer : Geometry {
  nn::ModulePtr operator()(const ConvLayer& layer) const {
    const Conv2dShape s = shape(layer);
    return std::make_shared<nn::Conv2d>(nn::Conv2d::Options{s.C, s.K, s.R, s.S, layer.geometry, layer.bias});
  }
  nn::ModulePtr operator()(const LinearLayer& layer) const {
    const int64_t out = features(layer);
    return std::make_shared<nn::Linear>(input[0], out, layer.bias);
  }
  nn::ModulePtr operator()(const MaxPoolLayer& layer) const { return std::make_shared<nn::MaxPool2d>(layer.pool); }
  nn::ModulePtr operator()(const AvgPoolLayer& layer) const { return std::make_shared<nn::AvgPool2d>(layer.pool); }
  nn::ModulePtr operator()(const AdaptiveAvgPoolLayer& layer) const {
    return std::make_shared<nn::AdaptiveAvgPool2d>(layer.height, layer.width);
  }
  nn::ModulePtr operator()(const BatchNormLayer& layer) const {
    require_image();
    return std::make_shared<nn::BatchNorm2d>(input[2], layer.momentum, layer.epsilon);
  }
  nn::ModulePtr operator()(const LocalResponseNormLayer& layer) const {
    return std::make_shared<nn::LocalResponseNorm>(layer.options);
  }
  nn::ModulePtr operator()(const FlattenLayer&) const { return std::make_shared<nn::Flatten>(); }
  nn::ModulePtr operator()(const ActivationLayer& layer) const {
    return std::make_shared<nn::ActivationLayer>(layer.activation);
  }
  nn::ModulePtr operator()(const DropoutLayer& layer) const { return std::make_shared<nn::Dropout>(layer.p); }
};

struct TypeName {
  std::string operator()(const ConvLayer&) const { return "conv"; }
  std::string operator()(const LinearLayer&) const { return "linear"; }
  std::string operator()(const MaxPoolLayer&) const { return "max_pool"; }
  std::string operator()(const AvgPoolLayer&) const { return "avg_pool"; }
  std::string operator()(const AdaptiveAvgPoolLayer&) const { return "adaptive_avg_pool"; }
  std::string operator()(const BatchNormLayer&) const { return "batch_norm"; }
  std::string operator()(const LocalResponseNormLayer&) const { return "local_response_norm"; }
  std::string operator()(const FlattenLayer&) const { return "flatten"; }
  std::string operator()(const DropoutLayer&) const { return "dropout"; }
  std::string operator()(const ActivationLayer& layer) const {
    switch (layer.activation) {
      case Activation::none:
        return "none";
      case Activation::relu:
        return "relu";
      case Activation::leaky_relu:
        return "leaky_relu";
      case Activation::gelu:
        return "gelu";
      case Activation::silu:
        return "silu";
    }
    return "activation";
  }
};

}  // namespace

Layer conv(int64_t channels, int64_t kernel, int64_t stride, int64_t padding, int64_t groups) {
  return ConvLayer{channels, kernel, kernel, {stride, stride, padding, padding, 1, 1, groups}, true};
}
Layer linear(int64_t features) { return LinearLayer{features, true}; }
Layer max_pool(int64_t window, int64_t stride) { return MaxPoolLayer{{window, window, stride, stride, 0, 0}}; }
Layer avg_pool(int64_t window, int64_t stride) { return AvgPoolLayer{{window, window, stride, stride, 0, 0}}; }

void append(LayerList& list, const std::string& part, const std::vector<Layer>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) list.push_back({fmt::format("{}.{}", part, i), layers[i]});
}

std::string type_name(const Layer& layer) { return std::visit(TypeName{}, layer); }

Shape output_shape(const Layer& layer, const Shape& input, int64_t classes) {
  return std::visit(OutputShape{{input, classes}}, layer);
}

std::vector<Shape> infer_shapes(const LayerList& layers, const Shape& input, int64_t classes) {
  std::vector<Shape> shapes;
  for (const NamedLayer& named : layers) {
    const Shape& x = shapes.empty() ? input : shapes.back();
    try {
      shapes.push_back(output_shape(named.layer, x, classes));
    } catch (const ShapeError& error) {
      throw ShapeError(fmt::format("layer {} ({}): {}", named.name, type_name(named.layer), error.what()));
    }
  }
  return shapes;
}

int64_t smallest_input(const LayerList& layers, int64_t channels, int64_t classes) {
  for (int64_t size = 1; size <= kLargestSizeTried; ++size) {
    try {
      infer_shapes(layers, {size, size, channels}, classes);
      return size;
    } catch (const ShapeError&) {
      continue;
    }
  }
  return 0;
}

std::vector<Shape> check_input(const std::string& network, const LayerList& layers, const Shape& input,
                               int64_t classes) {
  try {
    return infer_shapes(layers, input, classes);
  } catch (const ShapeError& error) {
    const int64_t smallest = input.size() == 3 ? smallest_input(layers, input[2], classes) : 0;
    throw ShapeError(fmt::format("{} with input {}: {}{}", network, striate::to_string(input), error.what(),
                                 smallest > 0 ? fmt::format("; the smallest input is {0}x{0}", smallest) : ""));
  }
}

nn::ModulePtr make_layer(const Layer& layer, const Shape& input, int64_t classes) {
  return std::visit(MakeLayer{{input, classes}}, layer);
}

}  // namespace striate::models
