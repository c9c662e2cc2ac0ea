#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/gpu/vector.h"

// Channels of an NHWC tensor, as the kernels that go through one pixel by pixel read and write them.

namespace striate::gpu {

/// kCount neighbouring channels: 4, one access of 16 bytes, or 1.
template <int kCount>
struct alignas(4 * kCount) Channels {
  static_assert(kCount == 4 || kCount == 1);
  float at[kCount];

  __device__ __forceinline__ float& operator[](int i) { return at[i]; }
  __device__ __forceinline__ float operator[](int i) const { return at[i]; }
};

/// From global memory that nobody writes while the kernel runs.
template <int kCount>
__device__ __forceinline__ Channels<kCount> load_channels(const float* p) {
  if constexpr (kCount == 4) {
    const float4 v = load_16_constant(p);
    return {{v.x, v.y, v.z, v.w}};
  } else {
    return {{__ldg(p)}};
  }
}

/// From shared memory, or from global memory that the kernel writes too.
template <int kCount>
__device__ __forceinline__ Channels<kCount> load_written_channels(const float* p) {
  if constexpr (kCount == 4) {
    const float4 v = load_16(p);
    return {{v.x, v.y, v.z, v.w}};
  } else {
    return {{*p}};
  }
}

template <int kCount>
__device__ __forceinline__ void store_channels(float* p, const Channels<kCount>& value) {
  if constexpr (kCount == 4) {
    store_16(p, make_float4(value[0], value[1], value[2], value[3]));
  } else {
    *p = value[0];
  }
}

template <int kCount>
__device__ __forceinline__ Channels<kCount> all_channels(float value) {
  Channels<kCount> result;
  for (int i = 0; i < kCount; ++i) result[i] = value;
  return result;
}

/// Calls fn(std::integral_constant<int, channels a thread takes>): 4 where C channels a pixel can be taken four at a
/// time in all of these tensors (some may be null), else 1.
template <typename Fn>
void with_channels(int64_t C, std::initializer_list<const void*> tensors, Fn&& fn) {
  bool by_four = C % 4 == 0;
  for (const void* tensor : tensors) by_four = by_four && reinterpret_cast<uintptr_t>(tensor) % 16 == 0;
  if (by_four) {
    fn(std::integral_constant<int, 4>());
  } else {
    fn(std::integral_constant<int, 1>());
  }
}

/// How a pixel's C channels are cut into blocks: `chunks` blocks side by side of `threads` threads and 128 channels at
/// most, with as few threads idle as can be.
struct ChannelBlocks {
  unsigned threads, chunks;
};

inline ChannelBlocks channel_blocks(int C, int channels_a_thread) {
  const unsigned accesses = static_cast<unsigned>((C + channels_a_thread - 1) / channels_a_thread);
  const unsigned most = 128 / static_cast<unsigned>(channels_a_thread), chunks = (accesses + most - 1) / most;
  return {(accesses + chunks - 1) / chunks, chunks};
}

}  // namespace striate::gpu
