#include "engine/nn/layers.h"

#include "kernels/error.h"

namespace striate::nn {

namespace {
/// "3" where both are alike, else "3x5".
std::string pair(int64_t h, int64_t w) { return h == w ? fmt::format("{}", h) : fmt::format("{}x{}", h, w); }

std::string pooling(const ops::Pool2dOptions& o) {
  std::string text = fmt::format("{}, stride {}", pair(o.window_h, o.window_w), pair(o.stride_h, o.stride_w));
  if (o.pad_h != 0 || o.pad_w != 0) text += fmt::format(", padding {}", pair(o.pad_h, o.pad_w));
  return text;
}
}  // namespace

Conv2d::Conv2d(const Options& options) : options_(options) {
  const Options& o = options_;
  require<ShapeError>(
      o.in_channels > 0 && o.out_channels > 0 && o.kernel_h > 0 && o.kernel_w > 0 && o.geometry.groups > 0 &&
          o.in_channels % o.geometry.groups == 0 && o.out_channels % o.geometry.groups == 0,
      "Conv2d: channels {} → {}, kernel {}x{}, groups {}: sizes must be positive and groups must divide "
      "both channel counts",
      o.in_channels, o.out_channels, o.kernel_h, o.kernel_w, o.geometry.groups);
  weight = register_parameter("weight", {o.out_channels, o.kernel_h, o.kernel_w, o.in_channels / o.geometry.groups});
  if (o.bias) bias = register_parameter("bias", {o.out_channels});
}

Conv2d::Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride, int64_t padding,
               int64_t groups, bool with_bias)
    : Conv2d(Options{in_channels, out_channels, kernel, kernel,
                     ops::Conv2dOptions{stride, stride, padding, padding, 1, 1, groups}, with_bias}) {}

Tensor Conv2d::forward(const Tensor& x, Activation activation) {
  return ops::conv2d(x, weight, bias, options_.geometry, activation, kernels_);
}

bool Conv2d::takes_pool(const Tensor& x) const {
  return ops::conv2d_max_pool2d_pays(x, weight, options_.geometry, kernels_);
}

Tensor Conv2d::forward_pooled(const Tensor& x, const ops::Pool2dOptions& pool) {
  return ops::conv2d_max_pool2d(x, weight, bias, options_.geometry, pool, Activation::relu);
}

std::string Conv2d::description() const {
  const Options& o = options_;
  const ops::Conv2dOptions& g = o.geometry;
  std::string text = fmt::format("Conv2d({}, {}, kernel {}, stride {}", o.in_channels, o.out_channels,
                                 pair(o.kernel_h, o.kernel_w), pair(g.stride_h, g.stride_w));
  if (g.pad_h != 0 || g.pad_w != 0) text += fmt::format(", padding {}", pair(g.pad_h, g.pad_w));
  if (g.dilation_h != 1 || g.dilation_w != 1) text += fmt::format(", dilation {}", pair(g.dilation_h, g.dilation_w));
  if (g.groups != 1) text += fmt::format(", groups {}", g.groups);
  if (!o.bias) text += ", no bias";
  return text + ")";
}

int64_t Conv2d::macs(const Shape&, const Shape& output) const {
  return element_count(output) * weight.dim(1) * weight.dim(2) * weight.dim(3);
}

Linear::Linear(int64_t in_features, int64_t out_features, bool with_bias) {
  require<ShapeError>(in_features > 0 && out_features > 0, "Linear: {} → {}: sizes must be positive", in_features,
                      out_features);
  weight = register_parameter("weight", {out_features, in_features});
  if (with_bias) bias = register_parameter("bias", {out_features});
}

Tensor Linear::forward(const Tensor& x, Activation activation, const ops::DropoutOptions& then) {
  return ops::linear(x, weight, bias, activation, kernels_, then);
}

std::string Linear::description() const {
  return fmt::format("Linear({}, {}{})", weight.dim(1), weight.dim(0), bias.defined() ? "" : ", no bias");
}

int64_t Linear::macs(const Shape& input, const Shape&) const { return input.at(0) * weight.size(); }

std::string ActivationLayer::type() const {
  switch (activation_) {
    case Activation::none:
      return "Identity";
    case Activation::relu:
      return "ReLU";
    case Activation::leaky_relu:
      return "LeakyReLU";
    case Activation::gelu:
      return "GELU";
    case Activation::silu:
      return "SiLU";
  }
  return "Activation";
}

std::string MaxPool2d::description() const { return fmt::format("MaxPool2d({})", pooling(options_)); }
std::string AvgPool2d::description() const { return fmt::format("AvgPool2d({})", pooling(options_)); }
std::string AdaptiveAvgPool2d::description() const {
  return fmt::format("AdaptiveAvgPool2d({})", pair(height_, width_));
}

Dropout::Dropout(float p) : p_(p) {
  require<ShapeError>(p >= 0.0f && p < 1.0f, "Dropout: expected a probability in [0, 1), found {}", p);
}

Tensor Dropout::forward(const Tensor& x) { return training() ? ops::dropout(x, options()) : x; }

std::string Dropout::description() const { return fmt::format("Dropout({})", p_); }

BatchNorm2d::BatchNorm2d(int64_t channels, float momentum, float epsilon) : momentum_(momentum), epsilon_(epsilon) {
  weight = register_parameter("weight", {channels});
  weight.fill(1.0f);
  bias = register_parameter("bias", {channels});
  running_mean = register_buffer("running_mean", Tensor::zeros({channels}));
  running_var = register_buffer("running_var", Tensor::full({channels}, 1.0f));
}

Tensor BatchNorm2d::forward(const Tensor& x) {
  return ops::batch_norm(x, weight, bias, running_mean, running_var, training(), momentum_, epsilon_, ranks_);
}

void synchronise_batch_norm(Module& network, Communicator& ranks) {
  for (const NamedModule& named : network.named_modules()) {
    if (auto* norm = dynamic_cast<BatchNorm2d*>(named.module)) norm->synchronise(ranks);
  }
}

std::string BatchNorm2d::description() const { return fmt::format("BatchNorm2d({})", weight.dim(0)); }

std::string LocalResponseNorm::description() const {
  return fmt::format("LocalResponseNorm(size {}, k {}, alpha {}{}, beta {})", options_.size, options_.k, options_.alpha,
                     options_.divide_alpha ? "/n" : "", options_.beta);
}

}  // namespace striate::nn
