#pragma once

#include <cmath>

#include "kernels/gpu/platform.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/warp.h"

// Reductions over a block: the lanes of each warp by shuffles, then the warps' results by shuffles again. A fixed tree:
// the same bits every time.

namespace striate::gpu {

/// This thread's place among the block's, x fastest; its warp is that / 32, its lane % 32.
__device__ __forceinline__ unsigned thread_in_block() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}

namespace detail {

/// combine(value) reduces over a warp and gives every lane the result.
template <typename T, typename Combine>
__device__ __forceinline__ T reduce_block(T value, T neutral, Combine combine) {
  STRIATE_SHARED(T, of_warp, [32]);
  const unsigned thread = thread_in_block(), warps = blockDim.x * blockDim.y * blockDim.z / 32;
#if !defined(__CUDACC__)
  if (blockDim.x * blockDim.y * blockDim.z % 32 != 0) host::fail("a block reduction in a block of not whole warps");
#endif
  const T whole_warp = combine(value);
  // A reduction before this one may still be read.
  __syncthreads();
  if (thread % 32 == 0) of_warp[thread / 32] = whole_warp;
  __syncthreads();
  return combine(thread % 32 < warps ? of_warp[thread % 32] : neutral);
}

}  // namespace detail

/// Sum over the block, in every thread. All threads call it, at one line; the block is a multiple of 32 threads. It has
/// two barriers, and what was written to shared memory before it can be read after it.
template <typename T>
__device__ __forceinline__ T block_sum(T value) {
  return detail::reduce_block(value, T(0), [](T v) { return warp_sum(v); });
}

/// Maximum over the block, in every thread; NaN where a thread has one. As above.
__device__ __forceinline__ float block_max(float value) {
  return detail::reduce_block(value, -INFINITY, [](float v) { return warp_max(v); });
}

}  // namespace striate::gpu
