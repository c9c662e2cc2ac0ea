#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/gpu/platform.h"

// Shuffles, votes and __syncwarp. On the GPU they are CUDA's own; here is what they mean, by the CUDA C++ Programming
// Guide
// ("Warp Shuffle Functions", "Warp Vote Functions"). Lanes outside the mask are not waited for and not read.

#if !defined(__CUDACC__)

namespace striate::gpu::host {

/// Every lane's value goes out to all, then each picks its source.
template <typename T>
T shuffle(const char* op, Site site, uint32_t mask, T value, int source) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
  struct Operands {
    T value;
    int source;
    T result;
  } mine{value, source, value};
  warp_meet(op, site, mask, &mine, [](uint32_t lanes, WarpLanes all) {
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (!(lanes >> lane & 1u)) continue;
      Operands& to = *static_cast<Operands*>(all[lane]);
      if (lanes >> to.source & 1u) {
        to.result = static_cast<Operands*>(all[to.source])->value;
      } else {
        // Reading a lane outside the mask is undefined on the GPU: here it gives 0xFF bytes, a NaN.
        std::memset(&to.result, 0xFF, sizeof(T));
      }
    }
  });
  return mine.result;
}

template <typename T>
T shuffle_to(Site site, uint32_t mask, T value, int source, int width = kWarpSize) {
  const int lane = lane_id();
  return shuffle("__shfl_sync", site, mask, value, (lane & ~(width - 1)) + (source & (width - 1)));
}

template <typename T>
T shuffle_up(Site site, uint32_t mask, T value, unsigned delta, int width = kWarpSize) {
  const int lane = lane_id(), from = lane - static_cast<int>(delta);
  return shuffle("__shfl_up_sync", site, mask, value, from < (lane & ~(width - 1)) ? lane : from);
}

template <typename T>
T shuffle_down(Site site, uint32_t mask, T value, unsigned delta, int width = kWarpSize) {
  const int lane = lane_id(), from = lane + static_cast<int>(delta);
  return shuffle("__shfl_down_sync", site, mask, value, from > (lane | (width - 1)) ? lane : from);
}

template <typename T>
T shuffle_xor(Site site, uint32_t mask, T value, int lane_mask, int width = kWarpSize) {
  const int lane = lane_id(), from = lane ^ lane_mask;
  return shuffle("__shfl_xor_sync", site, mask, value, from > (lane | (width - 1)) ? lane : from);
}

inline uint32_t ballot(const char* op, Site site, uint32_t mask, bool predicate) {
  uint32_t votes = predicate ? 1 : 0;
  warp_meet(op, site, mask, &votes, [](uint32_t lanes, WarpLanes all) {
    uint32_t result = 0;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if ((lanes >> lane & 1u) && *static_cast<uint32_t*>(all[lane]) != 0) result |= 1u << lane;
    }
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (lanes >> lane & 1u) *static_cast<uint32_t*>(all[lane]) = result;
    }
  });
  return votes;
}

inline void sync_warp(Site site, uint32_t mask = kFullMask) { warp_meet(kSyncWarp, site, mask, nullptr, nullptr); }

}  // namespace striate::gpu::host

#define STRIATE_SITE (::striate::gpu::host::Site{__FILE__, __LINE__})
#define __shfl_sync(...) ::striate::gpu::host::shuffle_to(STRIATE_SITE, __VA_ARGS__)
#define __shfl_up_sync(...) ::striate::gpu::host::shuffle_up(STRIATE_SITE, __VA_ARGS__)
#define __shfl_down_sync(...) ::striate::gpu::host::shuffle_down(STRIATE_SITE, __VA_ARGS__)
#define __shfl_xor_sync(...) ::striate::gpu::host::shuffle_xor(STRIATE_SITE, __VA_ARGS__)
#define __ballot_sync(mask, predicate) ::striate::gpu::host::ballot("__ballot_sync", STRIATE_SITE, mask, predicate)
#define __any_sync(mask, predicate) (::striate::gpu::host::ballot("__any_sync", STRIATE_SITE, mask, predicate) != 0)
#define __all_sync(mask, predicate) \
  (::striate::gpu::host::ballot("__all_sync", STRIATE_SITE, mask, predicate) == static_cast<uint32_t>(mask))
#define __syncwarp(...) ::striate::gpu::host::sync_warp(STRIATE_SITE __VA_OPT__(, ) __VA_ARGS__)

#endif

namespace striate::gpu {

/// Sum over the 32 lanes, in every lane; a fixed tree, so the same bits every time.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
  return value;
}

/// Maximum over the 32 lanes, in every lane; NaN where a lane has one.
__device__ __forceinline__ float warp_max(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(0xFFFFFFFFu, value, distance);
    value = value >= other || value != value ? value : other;
  }
  return value;
}

}  // namespace striate::gpu
