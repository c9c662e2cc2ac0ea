#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/gpu/device.h"
#include "kernels/gpu/floats.h"
#include "kernels/gpu/platform.h"

// Maps over arrays of floats or bfloat16, bound by memory: every element is read and written once, 16 bytes at a time.

namespace striate::gpu {

constexpr int kMapThreads = 256;

/// Blocks of kMapThreads for a map over n elements: one wave that fills the chip, and no more than there is work for.
template <typename T>
unsigned map_blocks(int64_t n, bool vectors) {
  const int64_t steps = vectors ? (n + kWidth<T> - 1) / kWidth<T> : n;
  const int64_t blocks = (steps + kMapThreads - 1) / kMapThreads;
  return static_cast<unsigned>(std::min<int64_t>(blocks, int64_t{8} * properties().multiprocessors));
}

/// Calls fn(i, part) for runs of neighbours from i on that together are 0 … n−1: `part` is an empty Floats<kCount>, or
/// Floats<1> for the last n mod kCount elements, and for all where `vectors` is false. Thread `first` of `stride` takes
/// its share of them; together they access memory in order.
template <int kCount, typename Index, typename Fn>
__device__ __forceinline__ void for_each_part(Index first, Index stride, Index n, bool vectors, Fn fn) {
  if (vectors) {
    for (Index i = first; i < n / kCount; i += stride) fn(kCount * i, Floats<kCount>());
    const Index rest = n / kCount * kCount + first;
    if (rest < n) fn(rest, Floats<1>());
  } else {
    for (Index i = first; i < n; i += stride) fn(i, Floats<1>());
  }
}

/// The same by all threads of the grid, for a map whose greatest elements are of T.
template <typename T, typename Fn>
__device__ __forceinline__ void map_elements(int64_t n, bool vectors, Fn fn) {
  for_each_part<kWidth<T>>(int64_t{blockIdx.x} * blockDim.x + threadIdx.x, int64_t{gridDim.x} * blockDim.x, n, vectors,
                           fn);
}

}  // namespace striate::gpu
