#include "engine/ops/checks.h"

#include <tuple>

#include "engine/dispatch.h"
#include "kernels/error.h"

namespace striate::ops {

void check_rank(const char* op, const char* input, const Tensor& t, int64_t rank) {
  require<ShapeError>(t.defined(), "{}: expected {}, found a tensor without values", op, input);
  require<ShapeError>(t.rank() == rank && t.dtype() == DType::float32, "{}: expected {} of float32, found {} of {}", op,
                      input, to_string(t.shape()), to_string(t.dtype()));
}

void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  require<Error>(a.device() == b.device(), "{}: inputs live on {} and {}; move one with to()", op,
                 to_string(a.device()), to_string(b.device()));
}

void check_bias(const char* op, const Tensor& x, const Tensor& bias, int64_t channels) {
  if (!bias.defined()) return;
  require<ShapeError>(bias.shape() == Shape{channels}, "{}: expected a bias [{}], found {}", op, channels,
                      to_string(bias.shape()));
  check_same_device(op, x, bias);
}

void check_kernels(const char* op, const char* library, Device device, Kernels kernels) {
  require<ConfigError>(kernels == Kernels::own || device == Device::cuda,
                       "{}: {} computes on device cuda, and its inputs live on {}; use own kernels there", op, library,
                       to_string(device));
}

void record_activation(Activation activation, Tensor& y) {
  if (activation == Activation::none) return;
  keep_output(y);
  if (activation == Activation::relu) ends_in_relu(y);
}

Tensor through_activation(Activation activation, const Tensor& dy, const Gradients& gradients) {
  if (activation == Activation::none || gradients.through_relu()) return dy;
  Tensor d = dy.is_only_handle() ? dy : Tensor::empty(dy.shape(), DType::float32, dy.device());
  STRIATE_DISPATCH(dy.device(), activation_backward, activation, gradients.output().data<float>(), dy.data<float>(),
                   d.data<float>(), d.size(), context(dy.device()));
  return d;
}

WeightGradients::WeightGradients(Gradients& gradients, const Shape& weight_shape, int64_t channels, Device device) {
  const bool wants_weight = gradients.wants(1), wants_bias = gradients.wants(2);
  if (!wants_weight && !wants_bias) return;
  Accumulate weight_mode = Accumulate::no, bias_mode = Accumulate::no;
  if (wants_weight) {
    std::tie(weight_, weight_mode) = gradients.target(1, weight_shape, device);
  } else {
    weight_ = Tensor::empty(weight_shape, DType::float32, device);
  }
  if (wants_bias) {
    std::tie(bias_, bias_mode) = gradients.target(2, {channels}, device);
  }
  accumulate_ = weight_mode == Accumulate::yes || bias_mode == Accumulate::yes ? Accumulate::yes : Accumulate::no;
  if (accumulate_ == Accumulate::yes) {
    if (weight_mode == Accumulate::no) weight_.fill(0.0f);
    if (wants_bias && bias_mode == Accumulate::no) bias_.fill(0.0f);
  }
}

}  // namespace striate::ops
