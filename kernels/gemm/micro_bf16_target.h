// What micro_bf16.cpp and micro_bf16_copy.cpp share: the register tile's size, vectors that end at an edge. For x86-64
// alone.
#pragma once

#include <hwy/base.h>
#include <immintrin.h>

#include <cstdint>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of g++ 12's own intrinsics, whose undefined vectors it sees
#endif

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

namespace striate::gemm::bf16 {

constexpr int64_t kLanes = 16;
constexpr int64_t kColumns = 2 * kLanes;
constexpr int kRows = 14;

/// The first n lanes, all of them from n = 16 on.
HWY_INLINE __mmask16 first_lanes(int64_t n) {
  return static_cast<__mmask16>(n >= kLanes ? 0xFFFFu : n <= 0 ? 0u : (1u << n) - 1u);
}

}  // namespace striate::gemm::bf16

HWY_POP_ATTRIBUTES
