#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/elementwise/check.h"
#include "kernels/reference_values.h"

namespace striate::reference {

template <typename T>
void fill(T* y, Parameter<T> value, int64_t n, Context&) {
  std::fill(y, y + n, rounded_to<T>(value));
}

template <typename T>
void scale(const T* x, T* y, Parameter<T> factor, int64_t n, Context&) {
  for (int64_t i = 0; i < n; ++i) y[i] = rounded_to<T>(double{factor} * value_of(x[i]));
}

template <typename T>
void add(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context) {
  check_fused_into_add(activation);
  for (int64_t i = 0; i < n; ++i) {
    double sum = value_of(a[i]) + value_of(b[i]);
    activation_forward(activation, &sum, &sum, 1, context);
    y[i] = rounded_to<T>(sum);
  }
}

template <typename T>
void accumulate(const T* x, T* y, int64_t n, Context&) {
  for (int64_t i = 0; i < n; ++i) y[i] = rounded_to<T>(value_of(y[i]) + value_of(x[i]));
}

// By the value: a multiple of the unit of the last place that bfloat16 keeps of it.
void float_to_bf16(const float* x, bfloat16* y, int64_t n, Context&) {
  for (int64_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) {
      y[i] = {0x7FFF};
      continue;
    }
    float rounded = x[i];
    if (std::isfinite(x[i]) && x[i] != 0.0f) {
      constexpr int kFractionBits = 7, kSmallestExponent = -126;
      const double unit = std::ldexp(1.0, std::max(std::ilogb(x[i]), kSmallestExponent) - kFractionBits);
      const double value = std::copysign(std::nearbyint(x[i] / unit) * unit, x[i]);  // ties to even
      rounded = std::abs(value) >= std::ldexp(1.0, 128) ? std::copysign(INFINITY, x[i]) : static_cast<float>(value);
    }
    y[i] = {static_cast<uint16_t>(std::bit_cast<uint32_t>(rounded) >> 16)};
  }
}

void bf16_to_float(const bfloat16* x, float* y, int64_t n, Context&) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = std::bit_cast<float>(uint32_t{x[i].bits} << 16);
  }
}

#define STRIATE_INSTANTIATE(T)                                              \
  template void fill<T>(T*, Parameter<T>, int64_t, Context&);               \
  template void scale<T>(const T*, T*, Parameter<T>, int64_t, Context&);    \
  template void add(const T*, const T*, T*, int64_t, Activation, Context&); \
  template void accumulate(const T*, T*, int64_t, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
