#pragma once

#include <cstdint>

#include "engine/autograd.h"
#include "engine/ops/ops.h"
#include "engine/tensor.h"
#include "kernels/activation/activation.h"

/// What the ops share: checks of their inputs, and the gradients of a weight and its bias.
namespace striate::ops {

/// Throws ShapeError naming the op and the input unless `t` is a float32 or bfloat16 tensor of that rank.
void check_rank(const char* op, const char* input, const Tensor& t, int64_t rank);
/// Throws Error unless both live on one device.
void check_same_device(const char* op, const Tensor& a, const Tensor& b);
/// Throws Error unless both are of one type.
void check_same_type(const char* op, const Tensor& a, const Tensor& b);
/// Throws Error unless the parameter is undefined or float32, whatever the activations are.
void check_parameter(const char* op, const char* parameter, const Tensor& t);
/// Throws ShapeError unless `bias` is undefined or [channels]; Error unless it is float32 and lives where x does.
void check_bias(const char* op, const Tensor& x, const Tensor& bias, int64_t channels);

/// Throws ConfigError for a vendor's kernels on another device than cuda. `library`: "cublas".
void check_kernels(const char* op, const char* library, Device device, Kernels kernels);

inline const float* data_or_null(const Tensor& t) { return t.defined() ? t.data<float>() : nullptr; }
template <typename T>
T* data_or_null(Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

/// x as a matrix product of its device takes it: with Precision::bf16 rounded to bfloat16, if it is not yet.
Tensor product_operand(const Tensor& x);
/// A product's weights beside operands of x's type: the parameter itself, or its rounded copy.
Tensor product_weights(const Tensor& w, const Tensor& x);

/// Gradient before a fused activation, and dropout of probability `dropped` behind a ReLU, from the output that the op
/// kept; dy itself where there is none, or where the ops that use the output have taken it through.
Tensor through_activation(Activation activation, const Tensor& dy, const Gradients& gradients, float dropped = 0.0f);
/// Keeps y for that, and lets the ops that use it take a ReLU (and the dropout) over. Call it after record().
void record_activation(Activation activation, Tensor& y, float dropped = 0.0f);
/// dx = the gradient before a ReLU, and dropout of probability `dropped` behind it, that gave y. dx may be dy.
void through_relu(const Tensor& y, const Tensor& dy, Tensor& dx, float dropped);

/// Where a kernel that computes the gradients of inputs 1 (weight) and 2 (bias) in one call writes them. One of the two
/// that nobody wants, or that would need the other mode, is made good here, so that the kernel needs one mode only.
class WeightGradients {
 public:
  WeightGradients(Gradients& gradients, const Shape& weight_shape, int64_t channels, Device device);
  bool wanted() const { return weight_.defined(); }
  float* weight() { return weight_.data<float>(); }
  float* bias() { return bias_.defined() ? bias_.data<float>() : nullptr; }
  Accumulate accumulate() const { return accumulate_; }

 private:
  Tensor weight_, bias_;
  Accumulate accumulate_ = Accumulate::no;
};

}  // namespace striate::ops
