#pragma once

#include <cstdint>

#include "kernels/context.h"

namespace striate::bench {

/// A GPU's limits as measured just now, a second.
struct CudaLimits {
  double flops = 0.0;                         ///< multiply–adds on registers alone, 2 flops each
  double tf32_flops = 0.0, bf16_flops = 0.0;  ///< products of the tensor cores by mma.sync, on registers alone
  double copy = 0.0;                          ///< bytes read and written by a copy beyond the caches
};

/// Times the kernels below. In a build without nvcc the times would be the host's: throws Error.
CudaLimits measure_cuda_limits(Context& context);

// The kernels: each of `blocks` blocks of kLimitThreads threads runs `steps` steps of independent chains on registers.
// `sums` [blocks·kLimitThreads] gets the sum of a thread's chains, so that none is dropped. They return the flops done.
constexpr int kLimitThreads = 256;
constexpr int kFmaChains = 16, kProductChains = 8;

/// Chain i: v = i at first, then v = factor·v + term at every step.
double fma_chains(float* sums, int blocks, int steps, float factor, float term, Context& context);
/// Fragments full of `a` and `b`, added to zeros at every step. `precision`: tf32 or bf16.
double product_chains(Precision precision, float* sums, int blocks, int steps, float a, float b, Context& context);
/// y = x, n floats. Returns the bytes read and written.
double copy_values(const float* x, float* y, int64_t n, Context& context);

}  // namespace striate::bench
