// A map, four floats or eight bfloat16 a thread and step (kernels/gpu/map.h): bound by memory, 8 bytes an element
// forward and 12 backward. GELU takes Φ from erfcf, which does not cancel for negative x; SiLU one exponential.
#include "kernels/activation/activation.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"

namespace striate::cuda {

namespace {

__device__ __forceinline__ float normal_cdf(float x) { return 0.5f * erfcf(-0.70710678f * x); }
__device__ __forceinline__ float normal_density(float x) { return 0.39894228f * expf(-0.5f * x * x); }
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// The comparisons let NaN through.
template <Activation kActivation>
__device__ __forceinline__ float value(float x) {
  switch (kActivation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x <= 0.0f ? 0.0f : x;
    case Activation::leaky_relu:
      return x > 0.0f ? x : kLeakySlope * x;
    case Activation::gelu:
      return x * normal_cdf(x);
    case Activation::silu:
      return x / (1.0f + expf(-x));
  }
  return x;
}

template <Activation kActivation>
__device__ __forceinline__ float gradient(float saved, float dy) {
  switch (kActivation) {
    case Activation::none:
      return dy;
    case Activation::relu:
      return saved <= 0.0f ? 0.0f : dy;
    case Activation::leaky_relu:
      return saved > 0.0f ? dy : kLeakySlope * dy;
    case Activation::gelu:
      return dy * (normal_cdf(saved) + saved * normal_density(saved));
    case Activation::silu: {
      const float s = sigmoid(saved);
      return dy * s * (1.0f + saved * (1.0f - s));
    }
  }
  return dy;
}

template <Activation kActivation, typename T>
__global__ void __launch_bounds__(gpu::kMapThreads)
    activation_forward_kernel(const T* x, T* y, int64_t n, bool vectors) {
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    part = part.load(x + i);
    for (float& v : part) v = value<kActivation>(v);
    part.store(y + i);
  });
}

template <Activation kActivation, typename T>
__global__ void __launch_bounds__(gpu::kMapThreads)
    activation_backward_kernel(const T* saved, const T* dy, T* dx, int64_t n, bool vectors) {
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    const auto from = part.load(saved + i);
    part = part.load(dy + i);
    for (int j = 0; j < part.count; ++j) part[j] = gradient<kActivation>(from[j], part[j]);
    part.store(dx + i);
  });
}

template <typename Kernel>
struct Choice {
  Kernel none, relu, leaky_relu, gelu, silu;

  Kernel operator[](Activation activation) const {
    switch (activation) {
      case Activation::none:
        return none;
      case Activation::relu:
        return relu;
      case Activation::leaky_relu:
        return leaky_relu;
      case Activation::gelu:
        return gelu;
      case Activation::silu:
        return silu;
    }
    return none;
  }
};

}  // namespace

template <typename T>
void activation_forward(Activation activation, const T* x, T* y, int64_t n, Context& context) {
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(x, y);
  const Choice<decltype(&activation_forward_kernel<Activation::none, T>)> activation_forward_kernels = {
      activation_forward_kernel<Activation::none, T>, activation_forward_kernel<Activation::relu, T>,
      activation_forward_kernel<Activation::leaky_relu, T>, activation_forward_kernel<Activation::gelu, T>,
      activation_forward_kernel<Activation::silu, T>};
  gpu::launch(activation_forward_kernels[activation], gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0,
              *context.stream, x, y, n, vectors);
}

template <typename T>
void activation_backward(Activation activation, const T* saved, const T* dy, T* dx, int64_t n, Context& context) {
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(saved, dy, dx);
  const Choice<decltype(&activation_backward_kernel<Activation::none, T>)> activation_backward_kernels = {
      activation_backward_kernel<Activation::none, T>, activation_backward_kernel<Activation::relu, T>,
      activation_backward_kernel<Activation::leaky_relu, T>, activation_backward_kernel<Activation::gelu, T>,
      activation_backward_kernel<Activation::silu, T>};
  gpu::launch(activation_backward_kernels[activation], gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0,
              *context.stream, saved, dy, dx, n, vectors);
}

#define STRIATE_INSTANTIATE(T)                                                      \
  template void activation_forward<T>(Activation, const T*, T*, int64_t, Context&); \
  template void activation_backward<T>(Activation, const T*, const T*, T*, int64_t, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
