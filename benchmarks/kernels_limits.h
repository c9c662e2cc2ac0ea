#pragma once

#include <cstdint>

#include "kernels/context.h"

namespace striate::bench {

/// The machine's limits as measured when the benchmark starts, with all threads of `context` at once.
struct Limits {
  double flops = 0.0;          ///< multiply–adds on registers alone, 2 flops each, per second
  double bf16_flops = 0.0;     ///< the same of bfloat16 products added to float32; 0 where the CPU has none
  double copy = 0.0;           ///< bytes read and written per second by the fastest copy of arrays beyond all caches
  double ordinary_copy = 0.0;  ///< the same with ordinary stores, which read a line before they write it
  double read = 0.0;           ///< bytes read per second, nothing written
  const char* simd = "";       ///< the instruction set the kernels use
};

Limits measure_limits(Context& context);

/// Runs `steps` steps of a dozen chains of bfloat16 products on registers; returns the flops done, 0 where the CPU has
/// no instruction for them. `*result` keeps the compiler from dropping them.
double multiply_add_bf16(int64_t steps, float* result);

/// Bytes read and written per second by that copy now, the median of a few passes: a machine's neighbours take and give
/// back bandwidth from second to second.
double copy_rate_now(Context& context);

}  // namespace striate::bench
