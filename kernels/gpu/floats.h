#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/gpu/vector.h"

// Runs of neighbouring floats: the elements of a map, the channels of a pixel of an NHWC tensor.

namespace striate::gpu {

/// kCount neighbours, and how they go to and from memory: 4 in one access of 16 bytes, or one by itself.
template <int kCount>
struct alignas(4 * kCount) Floats {
  static_assert(kCount == 1 || kCount == 4);
  static constexpr int count = kCount;
  float at[kCount];

  /// From shared memory, or from global memory that the kernel writes too.
  static __device__ __forceinline__ Floats load(const float* p STRIATE_CALLER) {
    if constexpr (kCount == 4) {
      const float4 v = load_16(p STRIATE_FOR_CALLER);
      return {{v.x, v.y, v.z, v.w}};
    } else {
      return {{*p}};
    }
  }

  /// From global memory that nobody writes while the kernel runs.
  static __device__ __forceinline__ Floats load_constant(const float* p STRIATE_CALLER) {
    if constexpr (kCount == 4) {
      const float4 v = load_16_constant(p STRIATE_FOR_CALLER);
      return {{v.x, v.y, v.z, v.w}};
    } else {
      return {{__ldg(p)}};
    }
  }

  __device__ __forceinline__ void store(float* p STRIATE_CALLER) const {
    if constexpr (kCount == 4) {
      store_16(p, make_float4(at[0], at[1], at[2], at[3]) STRIATE_FOR_CALLER);
    } else {
      *p = at[0];
    }
  }

  static __device__ __forceinline__ Floats all(float value) {
    Floats result;
    for (float& v : result) v = value;
    return result;
  }

  __device__ __forceinline__ float& operator[](int i) { return at[i]; }
  __device__ __forceinline__ float operator[](int i) const { return at[i]; }
  __device__ __forceinline__ float* begin() { return at; }
  __device__ __forceinline__ float* end() { return at + kCount; }
  __device__ __forceinline__ const float* begin() const { return at; }
  __device__ __forceinline__ const float* end() const { return at + kCount; }
};

/// Whether all of them begin at multiples of 16 bytes, as null does.
template <typename... Pointers>
__host__ __device__ __forceinline__ bool aligned_16(const Pointers*... p) {
  return ((reinterpret_cast<uintptr_t>(p) | ...) & 15u) == 0;
}

/// Whether runs of `floats` floats, one after another from each of these on, all begin at multiples of 16 bytes.
inline bool in_quads(int64_t floats, std::initializer_list<const void*> arrays) {
  bool aligned = floats % 4 == 0;
  for (const void* p : arrays) aligned = aligned && aligned_16(p);
  return aligned;
}

}  // namespace striate::gpu
