#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/bfloat16.h"
#include "kernels/gpu/convert.h"
#include "kernels/gpu/vector.h"

// Runs of neighbouring values: the elements of a map, the channels of a pixel of an NHWC tensor.

namespace striate::gpu {

/// Values of T, float or bfloat16, in an access of 16 bytes.
template <typename T>
constexpr int kWidth = 16 / static_cast<int>(sizeof(T));

/// kCount neighbours as the floats that a thread computes with, and how they go to and from memory, where they are
/// floats or bfloat16: 4 floats or 8 bfloat16 in one access of 16 bytes, 4 bfloat16 in one of 8, or one by itself.
template <int kCount>
struct alignas(kCount == 1 ? 4 : 16) Floats {
  static_assert(kCount == 1 || kCount == 4 || kCount == 8);
  static constexpr int count = kCount;
  float at[kCount];

  /// From shared memory, or from global memory that the kernel writes too.
  static __device__ __forceinline__ Floats load(const float* p STRIATE_CALLER) {
    static_assert(kCount <= 4);
    if constexpr (kCount == 4) {
      const float4 v = load_16(p STRIATE_FOR_CALLER);
      return {{v.x, v.y, v.z, v.w}};
    } else {
      return {{*p}};
    }
  }
  static __device__ __forceinline__ Floats load(const bfloat16* p STRIATE_CALLER) {
    if constexpr (kCount == 8) {
      return widened(load_16<uint4>(p STRIATE_FOR_CALLER));
    } else if constexpr (kCount == 4) {
      return widened(load_8<uint2>(p STRIATE_FOR_CALLER));
    } else {
      return {{from_bf16(p->bits)}};
    }
  }

  /// From global memory that nobody writes while the kernel runs.
  static __device__ __forceinline__ Floats load_constant(const float* p STRIATE_CALLER) {
    static_assert(kCount <= 4);
    if constexpr (kCount == 4) {
      const float4 v = load_16_constant(p STRIATE_FOR_CALLER);
      return {{v.x, v.y, v.z, v.w}};
    } else {
      return {{__ldg(p)}};
    }
  }
  static __device__ __forceinline__ Floats load_constant(const bfloat16* p STRIATE_CALLER) {
    if constexpr (kCount == 8) {
      return widened(load_16_constant<uint4>(p STRIATE_FOR_CALLER));
    } else if constexpr (kCount == 4) {
      return widened(load_8_constant<uint2>(p STRIATE_FOR_CALLER));
    } else {
      return {{from_bf16(__ldg(&p->bits))}};
    }
  }

  __device__ __forceinline__ void store(float* p STRIATE_CALLER) const {
    static_assert(kCount <= 4);
    if constexpr (kCount == 4) {
      store_16(p, make_float4(at[0], at[1], at[2], at[3]) STRIATE_FOR_CALLER);
    } else {
      *p = at[0];
    }
  }
  /// Each rounded as to_bfloat16() does.
  __device__ __forceinline__ void store(bfloat16* p STRIATE_CALLER) const {
    if constexpr (kCount == 8) {
      store_16(p, make_uint4(pair(0), pair(2), pair(4), pair(6)) STRIATE_FOR_CALLER);
    } else if constexpr (kCount == 4) {
      store_8(p, make_uint2(pair(0), pair(2)) STRIATE_FOR_CALLER);
    } else {
      p->bits = to_bf16(at[0]);
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

 private:
  // Two as they lie in a word of memory.
  __device__ __forceinline__ uint32_t pair(int i) const { return to_bf16x2(at[i + 1], at[i]); }

  static __device__ __forceinline__ float low(uint32_t two) { return from_bf16(static_cast<uint16_t>(two)); }
  static __device__ __forceinline__ float high(uint32_t two) { return from_bf16(static_cast<uint16_t>(two >> 16)); }
  static __device__ __forceinline__ Floats widened(const uint4& v) {
    return {{low(v.x), high(v.x), low(v.y), high(v.y), low(v.z), high(v.z), low(v.w), high(v.w)}};
  }
  static __device__ __forceinline__ Floats widened(const uint2& v) {
    return {{low(v.x), high(v.x), low(v.y), high(v.y)}};
  }
};

/// Whether all of them begin at multiples of 16 bytes, as null does.
template <typename... Pointers>
__host__ __device__ __forceinline__ bool aligned_16(const Pointers*... p) {
  return ((reinterpret_cast<uintptr_t>(p) | ...) & 15u) == 0;
}

/// Whether the arrays begin at multiples of 16 bytes, and runs of `count` values in them are whole runs of `width`.
inline bool in_runs_of(int width, int64_t count, std::initializer_list<const void*> arrays) {
  bool aligned = count % width == 0;
  for (const void* p : arrays) aligned = aligned && aligned_16(p);
  return aligned;
}

/// Whether runs of `floats` floats, one after another from each of these on, all begin at multiples of 16 bytes.
inline bool in_quads(int64_t floats, std::initializer_list<const void*> arrays) {
  return in_runs_of(4, floats, arrays);
}

}  // namespace striate::gpu
