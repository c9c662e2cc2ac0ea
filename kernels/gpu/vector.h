#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gpu/platform.h"

#if !defined(__CUDACC__)
#include "kernels/gpu/host/vector.h"
#endif

// Loads and stores of 16, 8 and 4 bytes as one access. Vector is float4, uint4, int4 (16), float2, uint2, int2 (8) or a
// word (4); the address is a multiple of its size.

namespace striate::gpu {

/// Global or shared memory.
template <typename Vector>
__device__ __forceinline__ Vector load_vector(const void* p STRIATE_CALLER) {
#if defined(__CUDACC__)
  return *static_cast<const Vector*>(p);
#else
  return host::read_vector<Vector>(p, caller);
#endif
}

template <typename Vector>
__device__ __forceinline__ void store_vector(void* p, const Vector& value STRIATE_CALLER) {
#if defined(__CUDACC__)
  *static_cast<Vector*>(p) = value;
#else
  host::write_vector(p, value, caller);
#endif
}

/// 16 bytes of global or shared memory.
template <typename Vector = float4>
__device__ __forceinline__ Vector load_16(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 16);
  return load_vector<Vector>(p STRIATE_FOR_CALLER);
}
template <typename Vector>
__device__ __forceinline__ void store_16(void* p, const Vector& value STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 16);
  store_vector(p, value STRIATE_FOR_CALLER);
}

/// 16 bytes of global memory that nobody writes while the kernel runs (ld.global.nc).
template <typename Vector = float4>
__device__ __forceinline__ Vector load_16_constant(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 16);
#if defined(__CUDACC__)
  return __ldg(static_cast<const Vector*>(p));
#else
  return host::read_vector<Vector>(p, caller);
#endif
}

/// 8 bytes of global memory that nobody writes while the kernel runs.
template <typename Vector>
__device__ __forceinline__ Vector load_8_constant(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 8);
#if defined(__CUDACC__)
  return __ldg(static_cast<const Vector*>(p));
#else
  return host::read_vector<Vector>(p, caller);
#endif
}

/// 8 bytes of global or shared memory, as the pairs of neighbours that an mma accumulator holds.
template <typename Vector = float2>
__device__ __forceinline__ Vector load_8(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 8);
  return load_vector<Vector>(p STRIATE_FOR_CALLER);
}
/// 4 bytes of global or shared memory, as the word that two bfloat16 are.
template <typename Vector>
__device__ __forceinline__ Vector load_4(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 4);
  return load_vector<Vector>(p STRIATE_FOR_CALLER);
}
template <typename Vector>
__device__ __forceinline__ void store_8(void* p, const Vector& value STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 8);
  store_vector(p, value STRIATE_FOR_CALLER);
}

}  // namespace striate::gpu
