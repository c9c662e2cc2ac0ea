#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/gpu/device.h"
#include "kernels/gpu/floats.h"
#include "kernels/gpu/platform.h"

// Maps over arrays of floats, bound by memory: every element is read and written once, four neighbours at a time.

namespace striate::gpu {

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
