#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gpu/platform.h"

#if !defined(__CUDACC__)
#include "kernels/gpu/host/checker.h"
#include "kernels/gpu/host/matrix.h"
#endif

// The tensor core's fragments: ldmatrix and mma, all 32 lanes together. PTX ISA, "Warp Level Matrix Instructions":
// "ldmatrix", "Matrix Fragments for mma.m16n8k8", "Matrix Fragments for mma.m16n8k16". With g = lane / 4, t = lane % 4:
//
//                      element i of the lane's fragment
//   A 16×8  tf32       row g + 8·(i & 1)            column t + 4·(i >> 1)                     i < 4, one a word
//   B  8×8  tf32       row t + 4·i                  column g                                  i < 2, one a word
//   A 16×16 bf16       row g + 8·(i >> 1 & 1)       column 2t + (i & 1) + 8·(i >> 2)          i < 8, two a word
//   B 16×8  bf16       row 2t + (i & 1) + 8·(i >> 1)     column g                             i < 4, two a word
//   D 16×8  float      row g + 8·(i >> 1)           column 2t + (i & 1)                       i < 4
//
// Of two in a word the lower index is the lower half. ldmatrix gives lane (g, t) word t of row g of each 8×8 matrix of
// 16-bit elements: two of those elements, or one tf32 of a matrix of 8 rows by 4.

namespace striate::gpu {

/// ldmatrix of 2 or 4 matrices: the instruction by its name below.
template <bool kTransposed, int kMatrices>
__device__ __forceinline__ void load_matrices(uint32_t (&r)[kMatrices], const void* row STRIATE_CALLER) {
  static_assert(kMatrices == 2 || kMatrices == 4);
#if defined(__CUDACC__)
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kMatrices == 4 && !kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else if constexpr (kMatrices == 4) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else if constexpr (!kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  }
#else
  host::report_ldmatrix(row, kMatrices);
  host::ldmatrix({kMatrices, kTransposed}, 1, r, &row, caller);
#endif
}

/// kCount of x4, of whose matrices each fragment of r has kWords.
template <bool kTransposed, int kFragments, int kWords, int kCount>
__device__ __forceinline__ void load_matrices(uint32_t (&r)[kFragments][kWords],
                                              const void* const (&rows)[kCount] STRIATE_CALLER) {
  static_assert(kFragments * kWords == 4 * kCount);
#if defined(__CUDACC__)
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    uint32_t words[4];
    load_matrices<kTransposed>(words, rows[i]);
#pragma unroll
    for (int j = 0; j < 4; ++j) r[(4 * i + j) / kWords][(4 * i + j) % kWords] = words[j];
  }
#else
  for (int i = 0; i < kCount; ++i) host::report_ldmatrix(rows[i], 4);
  host::ldmatrix({4, kTransposed}, kCount, r[0], rows, caller);
#endif
}

/// Loads four 8×8 matrices of 16-bit elements from shared memory, r[i] from matrix i. Lane l gives the address of row
/// l % 8 of matrix l / 8: 16 bytes, 16-byte aligned.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row STRIATE_CALLER) {
  load_matrices<false>(r, row STRIATE_FOR_CALLER);
}
/// The same with every matrix transposed: lane (g, t) gets elements (2t, g) and (2t + 1, g).
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row STRIATE_CALLER) {
  load_matrices<true>(r, row STRIATE_FOR_CALLER);
}

/// Two matrices: lanes 0 to 15 give the addresses, those of the others are ignored.
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row STRIATE_CALLER) {
  load_matrices<false>(r, row STRIATE_FOR_CALLER);
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row STRIATE_CALLER) {
  load_matrices<true>(r, row STRIATE_FOR_CALLER);
}

/// kCount of them, matrices 4i to 4i + 3 from rows[i]: the fragments of a warp's whole tile, A's of four words or B's
/// of two. The same instructions as one by one; on the host the lanes meet once for all.
template <int kFragments, int kWords, int kCount>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[kFragments][kWords],
                                            const void* const (&rows)[kCount] STRIATE_CALLER) {
  load_matrices<false>(r, rows STRIATE_FOR_CALLER);
}
template <int kFragments, int kWords, int kCount>
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[kFragments][kWords],
                                                  const void* const (&rows)[kCount] STRIATE_CALLER) {
  load_matrices<true>(r, rows STRIATE_FOR_CALLER);
}

/// d += a·b for a 16×8 and b 8×8 of tf32, d 16×8 in float. Only the upper 19 bits of each operand count (see to_tf32).
/// On the host: products exact, added to d one after another in the order of k, each sum rounded to float. The PTX ISA
/// leaves the order and the rounding of the sums open; integers whose sums stay below 2^24 are exact everywhere.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2] STRIATE_CALLER) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  host::count_flops(2 * 16 * 8 * 8 / host::kWarpSize);
  host::mma_tf32(1, 1, d, a, b, caller);
#endif
}

/// d += a·b for a 16×16 and b 16×8 of bfloat16, d 16×8 in float. Sums as above.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2] STRIATE_CALLER) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  host::count_flops(2 * 16 * 8 * 16 / host::kWarpSize);
  host::mma_bf16(1, 1, d, a, b, caller);
#endif
}

/// All products of kM fragments of A with kN of B, d[m][n] += a[m]·b[n]: a warp's whole tile in one step of k. The same
/// instructions and the same values as one by one; on the host the lanes meet once instead of kM·kN times.
template <int kM, int kN>
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[kM][kN][4], const uint32_t (&a)[kM][4],
                                                 const uint32_t (&b)[kN][2] STRIATE_CALLER) {
#if defined(__CUDACC__)
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) mma_m16n8k8_tf32(d[m][n], a[m], b[n]);
  }
#else
  static_assert(kM <= host::kMaxFragments && kN <= host::kMaxFragments);
  host::count_flops(2 * 16 * 8 * 8 * kM * kN / host::kWarpSize);
  host::mma_tf32(kM, kN, d[0][0], a[0], b[0], caller);
#endif
}
template <int kM, int kN>
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[kM][kN][4], const uint32_t (&a)[kM][4],
                                                  const uint32_t (&b)[kN][2] STRIATE_CALLER) {
#if defined(__CUDACC__)
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) mma_m16n8k16_bf16(d[m][n], a[m], b[n]);
  }
#else
  static_assert(kM <= host::kMaxFragments && kN <= host::kMaxFragments);
  host::count_flops(2 * 16 * 8 * 16 * kM * kN / host::kWarpSize);
  host::mma_bf16(kM, kN, d[0][0], a[0], b[0], caller);
#endif
}

}  // namespace striate::gpu
