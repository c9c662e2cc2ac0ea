#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/gpu/device.h"
#include "kernels/gpu/platform.h"
#include "kernels/gpu/vector.h"

// Maps over arrays of floats, bound by memory: every element is read and written once, four neighbours at a time.

namespace striate::gpu {

/// kWidth neighbours, and how they go to and from memory: 4 in one access of 16 bytes, or one by itself.
template <int kWidth>
struct Floats {
  static_assert(kWidth == 1 || kWidth == 4);
  static constexpr int width = kWidth;
  float value[kWidth];

  static __device__ __forceinline__ Floats load(const float* p) {
    if constexpr (kWidth == 4) {
      const float4 v = load_16(p);
      return {{v.x, v.y, v.z, v.w}};
    } else {
      return {{*p}};
    }
  }
  __device__ __forceinline__ void store(float* p) const {
    if constexpr (kWidth == 4) {
      store_16(p, make_float4(value[0], value[1], value[2], value[3]));
    } else {
      *p = value[0];
    }
  }
};

/// Whether all of them can be reached by accesses of 16 bytes.
template <typename... Pointers>
__host__ __device__ __forceinline__ bool aligned_16(const Pointers*... p) {
  return ((reinterpret_cast<uintptr_t>(p) | ...) & 15u) == 0;
}

constexpr int kMapThreads = 256;

/// Blocks of kMapThreads for a map over n elements: one wave that fills the chip, and no more than there is work for.
inline unsigned map_blocks(int64_t n, bool vectors) {
  const int64_t steps = vectors ? (n + 3) / 4 : n;
  const int64_t blocks = (steps + kMapThreads - 1) / kMapThreads;
  return static_cast<unsigned>(std::min<int64_t>(blocks, int64_t{8} * properties().multiprocessors));
}

/// Calls fn(i, part) for runs of neighbours from i on that together are 0 … n−1: `part` is an empty Floats<4>, or
/// Floats<1> for the last n mod 4 elements, and for all where `vectors` is false. Thread `first` of `stride` takes its
/// share of them; together they access memory in order.
template <typename Index, typename Fn>
__device__ __forceinline__ void for_each_part(Index first, Index stride, Index n, bool vectors, Fn fn) {
  if (vectors) {
    for (Index i = first; i < n / 4; i += stride) fn(4 * i, Floats<4>());
    const Index rest = n / 4 * 4 + first;
    if (rest < n) fn(rest, Floats<1>());
  } else {
    for (Index i = first; i < n; i += stride) fn(i, Floats<1>());
  }
}

/// The same, by all threads of the grid.
template <typename Fn>
__device__ __forceinline__ void map_elements(int64_t n, bool vectors, Fn fn) {
  for_each_part(int64_t{blockIdx.x} * blockDim.x + threadIdx.x, int64_t{gridDim.x} * blockDim.x, n, vectors, fn);
}

}  // namespace striate::gpu
