#pragma once

#include <cstdint>

#include "kernels/gpu/floats.h"

// A max-pool's index, a byte a channel, as a thread of the CUDA kernels reads and writes its run of channels.

namespace striate::cuda {

template <int kChannels>
__device__ __forceinline__ void store_index(uint8_t* index, const int (&position)[kChannels]) {
  if constexpr (kChannels == 8) {
    const auto word = [&](int i) {
      const auto byte = [&](int j) { return static_cast<uint32_t>(position[i + j]) << 8 * j; };
      return byte(0) | byte(1) | byte(2) | byte(3);
    };
    gpu::store_8(index, make_uint2(word(0), word(4)));
  } else if constexpr (kChannels == 4) {
    const auto byte = [](int p) { return static_cast<unsigned char>(p); };
    *reinterpret_cast<uchar4*>(index) =
        make_uchar4(byte(position[0]), byte(position[1]), byte(position[2]), byte(position[3]));
  } else {
    *index = static_cast<uint8_t>(position[0]);
  }
}

/// Adds dy to the sums of the channels whose index names this position.
template <int kChannels, typename T>
__device__ __forceinline__ void add_where_named(gpu::Floats<kChannels>& sum, const T* dy, const uint8_t* index,
                                                int position) {
  const gpu::Floats<kChannels> gradient = gpu::Floats<kChannels>::load_constant(dy);
  if constexpr (kChannels == 8) {
    const uint2 named = gpu::load_8_constant<uint2>(index);
    const auto here = static_cast<uint32_t>(position);
    for (int i = 0; i < 4; ++i) {
      sum[i] += (named.x >> 8 * i & 0xFFu) == here ? gradient[i] : 0.0f;
      sum[4 + i] += (named.y >> 8 * i & 0xFFu) == here ? gradient[4 + i] : 0.0f;
    }
  } else if constexpr (kChannels == 4) {
    const uchar4 named = __ldg(reinterpret_cast<const uchar4*>(index));
    sum[0] += named.x == position ? gradient[0] : 0.0f;
    sum[1] += named.y == position ? gradient[1] : 0.0f;
    sum[2] += named.z == position ? gradient[2] : 0.0f;
    sum[3] += named.w == position ? gradient[3] : 0.0f;
  } else {
    sum[0] += __ldg(index) == position ? gradient[0] : 0.0f;
  }
}

}  // namespace striate::cuda
