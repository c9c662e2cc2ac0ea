#pragma once

#include <cstdint>

#include "kernels/gemm/micro.h"

namespace striate::gemm {

/// Makes float32's kernels those of bfloat16: cells of two values on CPUs that multiply them (AVX-512 BF16), floats
/// that are rounded as they are packed, to nearest even, on all others.
void fill_bf16(MicroKernels<float>& kernels);
/// The same of operands that are bfloat16: cells, or floats they are widened to.
void fill_bf16(MicroKernels<bfloat16>& kernels);

/// The first of these; false, and nothing is changed, where the CPU or the build has no such instructions.
template <typename T>
bool fill_bf16_cells(MicroKernels<T>& kernels);
/// The part of them that micro_bf16_copy.cpp defines; on x86-64 alone.
template <typename T>
void add_bf16_copy_kernels(MicroKernels<T>& kernels);
/// The second of these.
void fill_rounded(MicroKernels<float>& kernels);

/// p[i] as bfloat16, in float32.
void round_to_bf16(float* p, int64_t n);

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
