// Maps, four floats or eight bfloat16 a thread and step (kernels/gpu/map.h), bound by memory: one read of each input,
// one write of the output.
#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/check.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"

namespace striate::cuda {

namespace {

template <typename T>
__global__ void __launch_bounds__(gpu::kMapThreads) fill_kernel(T* y, float value, int64_t n, bool vectors) {
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    for (float& v : part) v = value;
    part.store(y + i);
  });
}

template <typename T>
__global__ void __launch_bounds__(gpu::kMapThreads)
    scale_kernel(const T* x, T* y, float factor, int64_t n, bool vectors) {
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    part = part.load(x + i);
    for (float& v : part) v = factor * v;
    part.store(y + i);
  });
}

template <typename T>
__global__ void __launch_bounds__(gpu::kMapThreads)
    add_kernel(const T* a, const T* b, T* y, int64_t n, Activation activation, bool vectors) {
  // none, relu and leaky_relu are one formula: the sum where it is positive or NaN, else slope·sum (slope 1, 0, 0.01).
  const float slope = activation == Activation::relu ? 0.0f : activation == Activation::leaky_relu ? kLeakySlope : 1.0f;
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    const auto other = part.load(b + i);
    part = part.load(a + i);
    for (int j = 0; j < part.count; ++j) {
      const float sum = part[j] + other[j];
      const float below = slope == 0.0f ? 0.0f : slope * sum;  // not 0·sum, which is NaN for −∞
      part[j] = sum <= 0.0f ? below : sum;
    }
    part.store(y + i);
  });
}

template <typename T>
__global__ void __launch_bounds__(gpu::kMapThreads) accumulate_kernel(const T* x, T* y, int64_t n, bool vectors) {
  gpu::map_elements<T>(n, vectors, [=](int64_t i, auto part) {
    const auto more = part.load(x + i);
    part = part.load(y + i);
    for (int j = 0; j < part.count; ++j) part[j] += more[j];
    part.store(y + i);
  });
}

// Of the float's side accesses of 16 bytes, of the bfloat16's of 8: a warp's neighbours make whole sectors of both.
__global__ void __launch_bounds__(gpu::kMapThreads)
    float_to_bf16_kernel(const float* x, bfloat16* y, int64_t n, bool vectors) {
  gpu::map_elements<float>(n, vectors, [=](int64_t i, auto part) { part.load(x + i).store(y + i); });
}

__global__ void __launch_bounds__(gpu::kMapThreads)
    bf16_to_float_kernel(const bfloat16* x, float* y, int64_t n, bool vectors) {
  gpu::map_elements<float>(n, vectors, [=](int64_t i, auto part) { part.load(x + i).store(y + i); });
}

}  // namespace

template <typename T>
void fill(T* y, Parameter<T> value, int64_t n, Context& context) {
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(y);
  gpu::launch(fill_kernel<T>, gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0, *context.stream, y, value, n,
              vectors);
}

template <typename T>
void scale(const T* x, T* y, Parameter<T> factor, int64_t n, Context& context) {
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(x, y);
  gpu::launch(scale_kernel<T>, gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0, *context.stream, x, y, factor, n,
              vectors);
}

template <typename T>
void add(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context) {
  check_fused_into_add(activation);
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(a, b, y);
  gpu::launch(add_kernel<T>, gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0, *context.stream, a, b, y, n,
              activation, vectors);
}

template <typename T>
void accumulate(const T* x, T* y, int64_t n, Context& context) {
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(x, y);
  gpu::launch(accumulate_kernel<T>, gpu::map_blocks<T>(n, vectors), gpu::kMapThreads, 0, *context.stream, x, y, n,
              vectors);
}

void float_to_bf16(const float* x, bfloat16* y, int64_t n, Context& context) {
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(x, y);
  gpu::launch(float_to_bf16_kernel, gpu::map_blocks<float>(n, vectors), gpu::kMapThreads, 0, *context.stream, x, y, n,
              vectors);
}

void bf16_to_float(const bfloat16* x, float* y, int64_t n, Context& context) {
  if (n == 0) return;
  const bool vectors = gpu::aligned_16(x, y);
  gpu::launch(bf16_to_float_kernel, gpu::map_blocks<float>(n, vectors), gpu::kMapThreads, 0, *context.stream, x, y, n,
              vectors);
}

#define STRIATE_INSTANTIATE(T)                                                 \
  template void fill<T>(T*, Parameter<T>, int64_t, Context&);                  \
  template void scale<T>(const T*, T*, Parameter<T>, int64_t, Context&);       \
  template void add<T>(const T*, const T*, T*, int64_t, Activation, Context&); \
  template void accumulate<T>(const T*, T*, int64_t, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
