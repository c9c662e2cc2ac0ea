#include "engine/ops/checks.h"

#include <tuple>

#include "engine/dispatch.h"
#include "engine/rounded_copy.h"
#include "kernels/dropout/dropout.h"
#include "kernels/error.h"

namespace striate::ops {

void check_rank(const char* op, const char* input, const Tensor& t, int64_t rank) {
  require<ShapeError>(t.defined(), "{}: expected {}, found a tensor without values", op, input);
  require<ShapeError>(t.rank() == rank && (t.dtype() == DType::float32 || t.dtype() == DType::bfloat16),
                      "{}: expected {} of float32 or bfloat16, found {} of {}", op, input, to_string(t.shape()),
                      to_string(t.dtype()));
}

void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  require<Error>(a.device() == b.device(), "{}: inputs live on {} and {}; move one with to()", op,
                 to_string(a.device()), to_string(b.device()));
}

void check_same_type(const char* op, const Tensor& a, const Tensor& b) {
  require<Error>(a.dtype() == b.dtype(), "{}: inputs of {} and {}; convert one with to()", op, to_string(a.dtype()),
                 to_string(b.dtype()));
}

void check_parameter(const char* op, const char* parameter, const Tensor& t) {
  require<Error>(!t.defined() || t.dtype() == DType::float32,
                 "{}: {} is {}; parameters are float32, and rounded by the op where its inputs are bfloat16", op,
                 parameter, to_string(t.dtype()));
}

void check_bias(const char* op, const Tensor& x, const Tensor& bias, int64_t channels) {
  if (!bias.defined()) return;
  require<ShapeError>(bias.shape() == Shape{channels}, "{}: expected a bias [{}], found {}", op, channels,
                      to_string(bias.shape()));
  check_same_device(op, x, bias);
  check_parameter(op, "the bias", bias);
}

void check_kernels(const char* op, const char* library, Device device, Kernels kernels) {
  require<ConfigError>(kernels == Kernels::own || device == Device::cuda,
                       "{}: {} computes on device cuda, and its inputs live on {}; use own kernels there", op, library,
                       to_string(device));
}

Tensor product_operand(const Tensor& x) {
  return context(x.device()).precision == Precision::bf16 ? x.to(DType::bfloat16) : x;
}

Tensor product_weights(const Tensor& w, const Tensor& x) { return x.dtype() == DType::bfloat16 ? rounded_copy(w) : w; }

void record_activation(Activation activation, Tensor& y, float dropped) {
  if (activation == Activation::none) return;
  keep_output(y);
  if (activation == Activation::relu) ends_in_relu(y, dropped);
}

void through_relu(const Tensor& y, const Tensor& dy, Tensor& dx, float dropped) {
  const Device device = dy.device();
  in_type_of(dy, [&]<typename T>(T) {
    if (dropped == 0.0f) {
      STRIATE_DISPATCH(device, activation_backward, Activation::relu, y.data<T>(), dy.data<T>(), dx.data<T>(),
                       dx.size(), context(device));
    } else {
      const DropoutShape shape{dx.dim(0), dx.dim(1), dropped};  // [N,K], behind a linear layer
      STRIATE_DISPATCH(device, relu_dropout_backward, y.data<T>(), dy.data<T>(), dx.data<T>(), shape, context(device));
    }
  });
}

Tensor through_activation(Activation activation, const Tensor& dy, const Gradients& gradients, float dropped) {
  if (activation == Activation::none || gradients.through_relu()) return dy;
  Tensor d = dy.is_only_handle() ? dy : Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  if (activation == Activation::relu) {
    through_relu(gradients.output(), dy, d, dropped);
    return d;
  }
  in_type_of(dy, [&]<typename T>(T) {
    STRIATE_DISPATCH(dy.device(), activation_backward, activation, gradients.output().data<T>(), dy.data<T>(),
                     d.data<T>(), d.size(), context(dy.device()));
  });
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
