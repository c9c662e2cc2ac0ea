// Each non-linearity in double, from its definition. Φ(x) is erfc(−x/√2)/2: no cancellation for negative x.
#include <cmath>
#include <numbers>

#include "kernels/activation/activation.h"
#include "kernels/reference_values.h"

namespace striate::reference {

namespace {
double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double normal_pdf(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi); }
double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// The comparisons are written so that NaN falls through to x itself.
double value(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x <= 0.0 ? 0.0 : x;
    case Activation::leaky_relu:
      return x > 0.0 ? x : double{kLeakySlope} * x;
    case Activation::gelu:
      return x * normal_cdf(x);
    case Activation::silu:
      return x * sigmoid(x);
  }
  return x;
}

double gradient(Activation activation, double saved, double dy) {
  switch (activation) {
    case Activation::none:
      return dy;
    case Activation::relu:
      return saved <= 0.0 ? 0.0 : dy;
    case Activation::leaky_relu:
      return saved > 0.0 ? dy : double{kLeakySlope} * dy;
    case Activation::gelu:
      return dy * (normal_cdf(saved) + saved * normal_pdf(saved));
    case Activation::silu:
      return dy * sigmoid(saved) * (1.0 + saved * (1.0 - sigmoid(saved)));
  }
  return dy;
}
}  // namespace

template <typename T>
void activation_forward(Activation activation, const T* x, T* y, int64_t n, Context&) {
  for (int64_t i = 0; i < n; ++i) y[i] = rounded_to<T>(value(activation, value_of(x[i])));
}

template <typename T>
void activation_backward(Activation activation, const T* saved, const T* dy, T* dx, int64_t n, Context&) {
  for (int64_t i = 0; i < n; ++i) {
    dx[i] = rounded_to<T>(gradient(activation, value_of(saved[i]), value_of(dy[i])));
  }
}

#define STRIATE_INSTANTIATE(T)                                                   \
  template void activation_forward(Activation, const T*, T*, int64_t, Context&); \
  template void activation_backward(Activation, const T*, const T*, T*, int64_t, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
