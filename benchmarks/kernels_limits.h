#pragma once

#include "kernels/context.h"

namespace striate::bench {

/// The machine's limits as measured when the benchmark starts, with all threads of `context` at once.
struct Limits {
  double flops = 0.0;          ///< multiply–adds on registers alone, 2 flops each, per second
  double copy = 0.0;           ///< bytes read and written per second by the fastest copy of arrays beyond all caches
  double ordinary_copy = 0.0;  ///< the same with ordinary stores, which read a line before they write it
  double read = 0.0;           ///< bytes read per second, nothing written
  const char* simd = "";       ///< the instruction set the kernels use
};

Limits measure_limits(Context& context);

}  // namespace striate::bench
