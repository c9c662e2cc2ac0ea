#pragma once

#include <cstdint>

#include "kernels/gemm/micro.h"

namespace striate::gemm {

/// Makes kernels that widen bfloat16 to floats those of cells of two values, which AVX-512 BF16 multiplies; false, and
/// nothing is changed, where the CPU or the build has no such instructions.
bool fill_bf16_cells(MicroKernels<bfloat16>& kernels);
/// The part of them that micro_bf16_copy.cpp defines; on x86-64 alone.
void add_bf16_copy_kernels(MicroKernels<bfloat16>& kernels);

/// While one lives, this CPU counts as one of the others: for tests.
class WithoutBf16Instructions {
 public:
  WithoutBf16Instructions() { ++count_; }
  ~WithoutBf16Instructions() { --count_; }
  WithoutBf16Instructions(const WithoutBf16Instructions&) = delete;
  WithoutBf16Instructions& operator=(const WithoutBf16Instructions&) = delete;
  static bool any() { return count_ > 0; }

 private:
  static inline int count_ = 0;
};

}  // namespace striate::gemm
