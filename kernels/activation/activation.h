#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/context.h"

namespace striate {

/// Pointwise non-linearities.
///   relu        max(x, 0)
///   leaky_relu  x > 0 ? x : 0.01·x                      (Maas, Hannun & Ng 2013)
///   gelu        x·Φ(x) with the exact error function     (Hendrycks & Gimpel 2016)
///   silu        x·σ(x), also called Swish                (Elfwing et al. 2017)
/// NaN goes through each of them.
enum class Activation { none, relu, leaky_relu, gelu, silu };

constexpr float kLeakySlope = 0.01f;

/// True where the derivative follows from the sign of the output, so that the output is all the backward needs and the
/// activation can be fused into the epilogue of conv2d and linear.
constexpr bool derivative_from_output(Activation a) {
  return a == Activation::none || a == Activation::relu || a == Activation::leaky_relu;
}

// forward:  y = f(x), n elements. y may be x.
// backward: dx = dy·f′. `saved` is y where derivative_from_output(activation), else x. dx may be dy. dx is overwritten.
//           relu′(0) = 0, leaky_relu′(0) = 0.01, as in PyTorch.
// T is double (reference only), float or bfloat16. bfloat16 is storage: sums and functions are float's (the reference's
// double's), and a value is rounded where it is stored.
namespace reference {
template <typename T>
void activation_forward(Activation activation, const T* x, T* y, int64_t n, Context& context);
template <typename T>
void activation_backward(Activation activation, const T* saved, const T* dy, T* dx, int64_t n, Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void activation_forward(Activation activation, const T* x, T* y, int64_t n, Context& context);
template <typename T>
void activation_backward(Activation activation, const T* saved, const T* dy, T* dx, int64_t n, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void activation_forward(Activation activation, const T* x, T* y, int64_t n, Context& context);
template <typename T>
void activation_backward(Activation activation, const T* saved, const T* dy, T* dx, int64_t n, Context& context);
}  // namespace cuda

}  // namespace striate
