#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/nn/module.h"
#include "engine/ops/ops.h"
#include "kernels/activation/activation.h"

/// A sequential network on paper: layers that know neither their input's size nor where they live. Families and
/// `model.layers` are written in it; shapes are inferred from it before any memory is taken.
namespace striate::models {

struct ConvLayer {
  int64_t channels = 0;  ///< of the output
  int64_t kernel_h = 1, kernel_w = 1;
  ops::Conv2dOptions geometry;
  bool bias = true;
};
/// `features` 0: as many as there are classes.
struct LinearLayer {
  int64_t features = 0;
  bool bias = true;
};
struct MaxPoolLayer {
  ops::Pool2dOptions pool;
};
struct AvgPoolLayer {
  ops::Pool2dOptions pool;
};
struct AdaptiveAvgPoolLayer {
  int64_t height = 1, width = 1;
};
struct ActivationLayer {
  Activation activation = Activation::relu;
};
struct DropoutLayer {
  float p = 0.5f;
};
struct BatchNormLayer {
  float momentum = 0.1f, epsilon = 1e-5f;
};
struct LocalResponseNormLayer {
  ops::LocalResponseNormOptions options;
};
struct FlattenLayer {};

using Layer = std::variant<ConvLayer, LinearLayer, MaxPoolLayer, AvgPoolLayer, AdaptiveAvgPoolLayer, ActivationLayer,
                           DropoutLayer, BatchNormLayer, LocalResponseNormLayer, FlattenLayer>;

/// Square kernels and windows.
Layer conv(int64_t channels, int64_t kernel, int64_t stride = 1, int64_t padding = 0, int64_t groups = 1);
Layer linear(int64_t features);
Layer max_pool(int64_t window, int64_t stride);
Layer avg_pool(int64_t window, int64_t stride);

/// A layer and its dotted name: "features.0" puts it into the child Sequential "features". Layers of one child stand
/// together.
struct NamedLayer {
  std::string name;
  Layer layer;
};
using LayerList = std::vector<NamedLayer>;

/// Appends layers as "part.0", "part.1", …
void append(LayerList& list, const std::string& part, const std::vector<Layer>& layers);

/// "conv", as `model.layers` names it.
std::string type_name(const Layer& layer);

/// Shape of one sample after the layer, [H,W,C] or [features]. Throws ShapeError where the input does not fit.
Shape output_shape(const Layer& layer, const Shape& input, int64_t classes);

/// Shapes after every layer. Throws ShapeError naming the layer that does not fit.
std::vector<Shape> infer_shapes(const LayerList& layers, const Shape& input, int64_t classes);

/// The smallest square input that fits, in pixels; 0 where none up to 1024 does.
int64_t smallest_input(const LayerList& layers, int64_t channels, int64_t classes);

/// infer_shapes(), with the smallest square input that fits in the error where there is one. `network` opens it.
std::vector<Shape> check_input(const std::string& network, const LayerList& layers, const Shape& input,
                               int64_t classes);

/// The layer's module for one input shape, its parameters zero.
nn::ModulePtr make_layer(const Layer& layer, const Shape& input, int64_t classes);

}  // namespace striate::models
