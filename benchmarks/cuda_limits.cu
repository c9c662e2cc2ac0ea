// What bounds a GPU's kernels, by kernels of our own: chains of multiply–adds and of tensor-core products on registers,
// enough of them a warp and warps a multiprocessor to hide every latency, and a copy of arrays that no cache holds. The
// products are mma.sync's, as the kernels' are: on Hopper that reaches some 63 % of what wgmma does.
#include "benchmarks/cuda_limits.h"

#include "kernels/gpu/convert.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"
#include "kernels/gpu/matrix.h"

namespace striate::bench {

namespace {

__global__ void __launch_bounds__(kLimitThreads) fma_chains_kernel(float* sums, int steps, float factor, float term) {
  float chain[kFmaChains];
#pragma unroll
  for (int i = 0; i < kFmaChains; ++i) chain[i] = static_cast<float>(i);
#pragma unroll 4
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < kFmaChains; ++i) chain[i] = fmaf(chain[i], factor, term);
  }
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kFmaChains; ++i) sum += chain[i];
  sums[blockIdx.x * kLimitThreads + threadIdx.x] = sum;
}

template <bool kBf16>
__global__ void __launch_bounds__(kLimitThreads)
    product_chains_kernel(float* sums, int steps, uint32_t a_word, uint32_t b_word) {
  uint32_t a[1][4], b[kProductChains][2];
  float d[1][kProductChains][4];
#pragma unroll
  for (int i = 0; i < 4; ++i) a[0][i] = a_word;
#pragma unroll
  for (int chain = 0; chain < kProductChains; ++chain) {
    b[chain][0] = b[chain][1] = b_word;
#pragma unroll
    for (int i = 0; i < 4; ++i) d[0][chain][i] = 0.0f;
  }
#pragma unroll 2
  for (int step = 0; step < steps; ++step) {
    if constexpr (kBf16) {
      gpu::mma_m16n8k16_bf16(d, a, b);
    } else {
      gpu::mma_m16n8k8_tf32(d, a, b);
    }
  }
  float sum = 0.0f;
#pragma unroll
  for (int chain = 0; chain < kProductChains; ++chain) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sum += d[0][chain][i];
  }
  sums[blockIdx.x * kLimitThreads + threadIdx.x] = sum;
}

__global__ void __launch_bounds__(gpu::kMapThreads) copy_kernel(const float* x, float* y, int64_t n, bool vectors) {
  gpu::map_elements<float>(n, vectors, [=](int64_t i, auto part) { part.load(x + i).store(y + i); });
}

uint32_t bits_of(float value) {
  uint32_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

}  // namespace

double fma_chains(float* sums, int blocks, int steps, float factor, float term, Context& context) {
  gpu::launch(fma_chains_kernel, dim3(static_cast<unsigned>(blocks)), dim3(kLimitThreads), 0, *context.stream, sums,
              steps, factor, term);
  return 2.0 * kFmaChains * kLimitThreads * blocks * static_cast<double>(steps);
}

double product_chains(Precision precision, float* sums, int blocks, int steps, float a, float b, Context& context) {
  const bool bf16 = precision == Precision::bf16;
  // Small integers are themselves in both formats: the upper half of a float, twice a word, or the float itself.
  const auto word = [bf16](float value) {
    const uint32_t bits = bits_of(value);
    return bf16 ? (bits >> 16) | (bits & 0xffff0000u) : bits;
  };
  gpu::launch(bf16 ? product_chains_kernel<true> : product_chains_kernel<false>, dim3(static_cast<unsigned>(blocks)),
              dim3(kLimitThreads), 0, *context.stream, sums, steps, word(a), word(b));
  const double products = 16.0 * 8 * (bf16 ? 16 : 8);
  return 2.0 * products * kProductChains * (kLimitThreads / 32) * blocks * static_cast<double>(steps);
}

double copy_values(const float* x, float* y, int64_t n, Context& context) {
  const bool vectors = gpu::aligned_16(x, y);
  gpu::launch(copy_kernel, gpu::map_blocks<float>(n, vectors), gpu::kMapThreads, 0, *context.stream, x, y, n, vectors);
  return 2.0 * sizeof(float) * static_cast<double>(n);
}

}  // namespace striate::bench
