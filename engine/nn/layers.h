#pragma once

#include <cstdint>
#include <string>

#include "engine/nn/module.h"
#include "engine/ops/ops.h"

namespace striate::nn {

/// A module that can take the activation that follows it into its own kernel.
class FusesActivation {
 public:
  virtual ~FusesActivation() = default;
  virtual Tensor forward(const Tensor& x, Activation activation) = 0;
};

/// x [N,H,W,in] → [N,P,Q,out]; weight [out,R,S,in/groups], bias [out].
class Conv2d : public Module, public FusesActivation {
 public:
  struct Options {
    int64_t in_channels = 0, out_channels = 0;
    int64_t kernel_h = 1, kernel_w = 1;
    ops::Conv2dOptions geometry;
    bool bias = true;
  };
  explicit Conv2d(const Options& options);
  /// Square kernel, stride and padding.
  Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride = 1, int64_t padding = 0,
         int64_t groups = 1, bool bias = true);
  Tensor forward(const Tensor& x) override { return forward(x, Activation::none); }
  Tensor forward(const Tensor& x, Activation activation) override;
  /// Whether the max-pool behind a ReLU that follows can be taken along, which is then forward_pooled().
  bool takes_pool(const Tensor& x) const;
  Tensor forward_pooled(const Tensor& x, const ops::Pool2dOptions& pool);
  std::string type() const override { return "Conv2d"; }
  std::string description() const override;
  int64_t macs(const Shape& input, const Shape& output) const override;
  const Options& options() const { return options_; }
  void use(ops::Kernels kernels) { kernels_ = kernels; }

  Tensor weight, bias;  ///< bias undefined without one

 private:
  Options options_;
  ops::Kernels kernels_ = ops::Kernels::own;
};

/// x [N,in] → [N,out]; weight [out,in], bias [out].
class Linear : public Module, public FusesActivation {
 public:
  Linear(int64_t in_features, int64_t out_features, bool bias = true);
  Tensor forward(const Tensor& x) override { return forward(x, Activation::none); }
  Tensor forward(const Tensor& x, Activation activation) override { return forward(x, activation, {}); }
  virtual Tensor forward(const Tensor& x, Activation activation, const ops::DropoutOptions& then);
  std::string type() const override { return "Linear"; }
  std::string description() const override;
  int64_t macs(const Shape& input, const Shape& output) const override;
  void use(ops::Kernels kernels) { kernels_ = kernels; }
  ops::Kernels kernels() const { return kernels_; }

  Tensor weight, bias;

 private:
  ops::Kernels kernels_ = ops::Kernels::own;
};

/// ReLU, LeakyReLU, GELU or SiLU.
class ActivationLayer : public Module {
 public:
  explicit ActivationLayer(Activation activation) : activation_(activation) {}
  Tensor forward(const Tensor& x) override { return ops::activation(x, activation_); }
  std::string type() const override;
  Activation activation() const { return activation_; }

 private:
  Activation activation_;
};

class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(const ops::Pool2dOptions& options) : options_(options) {}
  MaxPool2d(int64_t window, int64_t stride, int64_t padding = 0)
      : options_{window, window, stride, stride, padding, padding} {}
  Tensor forward(const Tensor& x) override { return ops::max_pool2d(x, options_); }
  std::string type() const override { return "MaxPool2d"; }
  std::string description() const override;
  const ops::Pool2dOptions& options() const { return options_; }

 private:
  ops::Pool2dOptions options_;
};

class AvgPool2d : public Module {
 public:
  explicit AvgPool2d(const ops::Pool2dOptions& options) : options_(options) {}
  AvgPool2d(int64_t window, int64_t stride, int64_t padding = 0)
      : options_{window, window, stride, stride, padding, padding} {}
  Tensor forward(const Tensor& x) override { return ops::avg_pool2d(x, options_); }
  std::string type() const override { return "AvgPool2d"; }
  std::string description() const override;
  const ops::Pool2dOptions& options() const { return options_; }

 private:
  ops::Pool2dOptions options_;
};

class AdaptiveAvgPool2d : public Module {
 public:
  AdaptiveAvgPool2d(int64_t height, int64_t width) : height_(height), width_(width) {}
  Tensor forward(const Tensor& x) override { return ops::adaptive_avg_pool2d(x, height_, width_); }
  std::string type() const override { return "AdaptiveAvgPool2d"; }
  std::string description() const override;

 private:
  int64_t height_, width_;
};

/// Zeroes with probability p in training mode; nothing otherwise. Layers are numbered through the network as it is
/// built.
class Dropout : public Module {
 public:
  explicit Dropout(float p = 0.5f);
  Tensor forward(const Tensor& x) override;
  std::string type() const override { return "Dropout"; }
  std::string description() const override;
  void set_layer(uint32_t layer) { layer_ = layer; }
  /// Where the coming forwards' rows lie, counted from dropout_state(device).first_sample.
  void set_first_row(int64_t row) { first_row_ = row; }
  /// What it does in the mode it is in.
  ops::DropoutOptions options() const { return {training() ? p_ : 0.0f, layer_, first_row_}; }

 private:
  float p_;
  uint32_t layer_ = 0;
  int64_t first_row_ = 0;
};

/// Over the last axis. Parameters weight (gamma) and bias (beta); buffers running_mean and running_var.
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(int64_t channels, float momentum = 0.1f, float epsilon = 1e-5f);
  Tensor forward(const Tensor& x) override;
  std::string type() const override { return "BatchNorm2d"; }
  std::string description() const override;
  float epsilon() const { return epsilon_; }
  /// Trains by the statistics of all ranks' rows together. `ranks` is of values in the host's memory and outlives this.
  void synchronise(Communicator& ranks) { ranks_ = &ranks; }

  Tensor weight, bias, running_mean, running_var;

 private:
  float momentum_, epsilon_;
  Communicator* ranks_ = nullptr;
};

/// BatchNorm2d::synchronise() of every one in the network.
void synchronise_batch_norm(Module& network, Communicator& ranks);

class LocalResponseNorm : public Module {
 public:
  explicit LocalResponseNorm(const ops::LocalResponseNormOptions& options = {}) : options_(options) {}
  Tensor forward(const Tensor& x) override { return ops::local_response_norm(x, options_); }
  std::string type() const override { return "LocalResponseNorm"; }
  std::string description() const override;
  const ops::LocalResponseNormOptions& options() const { return options_; }

 private:
  ops::LocalResponseNormOptions options_;
};

/// [N,H,W,C] → [N,H·W·C].
class Flatten : public Module {
 public:
  Tensor forward(const Tensor& x) override { return ops::flatten(x); }
  std::string type() const override { return "Flatten"; }
};

}  // namespace striate::nn
