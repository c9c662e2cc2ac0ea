#pragma once

#include "kernels/context.h"

namespace striate::bench {

/// The machine's limits as measured when the benchmark starts, with all threads of `context` at once.
struct Limits {
  double flops = 0.0;     ///< multiply–adds on registers alone, 2 flops each, per second
  const char* simd = "";  ///< the instruction set the kernels use
};

Limits measure_limits(Context& context);

}  // namespace striate::bench
