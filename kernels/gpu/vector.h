#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gpu/platform.h"

#if !defined(__CUDACC__)
#include "kernels/gpu/host/checker.h"
#include "kernels/gpu/host/vector.h"
#endif

// Loads and stores of 16 and 8 bytes as one access. Vector is float4, uint4, int4 (16) or float2, uint2, int2 (8); the
// address is a multiple of its size.

namespace striate::gpu {

/// 16 bytes of global or shared memory.
template <typename Vector = float4>
__device__ __forceinline__ Vector load_16(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 16);
#if defined(__CUDACC__)
  return *static_cast<const Vector*>(p);
#else
  host::report_read(p, 16);
  Vector value;
  host::copy_vector(&value, p, 16, p, caller);
  return value;
#endif
}

template <typename Vector>
__device__ __forceinline__ void store_16(void* p, const Vector& value STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 16);
#if defined(__CUDACC__)
  *static_cast<Vector*>(p) = value;
#else
  host::report_write(p, 16);
  host::copy_vector(p, &value, 16, p, caller);
#endif
}

/// 16 bytes of global memory that nobody writes while the kernel runs (ld.global.nc).
template <typename Vector = float4>
__device__ __forceinline__ Vector load_16_constant(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 16);
#if defined(__CUDACC__)
  return __ldg(static_cast<const Vector*>(p));
#else
  host::report_read(p, 16);
  Vector value;
  host::copy_vector(&value, p, 16, p, caller);
  return value;
#endif
}

/// 8 bytes of global or shared memory, as the pairs of neighbours that an mma accumulator holds.
template <typename Vector = float2>
__device__ __forceinline__ Vector load_8(const void* p STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 8);
#if defined(__CUDACC__)
  return *static_cast<const Vector*>(p);
#else
  host::report_read(p, 8);
  Vector value;
  host::copy_vector(&value, p, 8, p, caller);
  return value;
#endif
}

template <typename Vector>
__device__ __forceinline__ void store_8(void* p, const Vector& value STRIATE_CALLER) {
  static_assert(sizeof(Vector) == 8);
#if defined(__CUDACC__)
  *static_cast<Vector*>(p) = value;
#else
  host::report_write(p, 8);
  host::copy_vector(p, &value, 8, p, caller);
#endif
}

}  // namespace striate::gpu
