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

#if !defined(__CUDACC__)
namespace host {

template <typename Vector>
__forceinline__ Vector load_vector(const void* p, Site site) {
  report_read(p, sizeof(Vector));
  Vector value;
  copy_vector<sizeof(Vector)>(site, &value, p, p);
  return value;
}

template <typename Vector>
__forceinline__ void store_vector(void* p, const Vector& value, Site site) {
  report_write(p, sizeof(Vector));
  copy_vector<sizeof(Vector)>(site, p, &value, p);
}

}  // namespace host
#endif

/// 16 bytes of global or shared memory.
#if defined(__CUDACC__)
template <typename Vector = float4>
__device__ __forceinline__ Vector load_16(const void* p) {
  static_assert(sizeof(Vector) == 16);
  return *static_cast<const Vector*>(p);
}
#else
template <typename Vector = float4>
__forceinline__ Vector load_16(const void* p, host::Site site = host::Site::here()) {
  static_assert(sizeof(Vector) == 16);
  return host::load_vector<Vector>(p, site);
}
#endif

/// 16 bytes of global memory that nobody writes while the kernel runs (ld.global.nc).
#if defined(__CUDACC__)
template <typename Vector = float4>
__device__ __forceinline__ Vector load_16_constant(const void* p) {
  static_assert(sizeof(Vector) == 16);
  return __ldg(static_cast<const Vector*>(p));
}
#else
template <typename Vector = float4>
__forceinline__ Vector load_16_constant(const void* p, host::Site site = host::Site::here()) {
  static_assert(sizeof(Vector) == 16);
  return host::load_vector<Vector>(p, site);
}
#endif

#if defined(__CUDACC__)
template <typename Vector>
__device__ __forceinline__ void store_16(void* p, const Vector& value) {
  static_assert(sizeof(Vector) == 16);
  *static_cast<Vector*>(p) = value;
}
#else
template <typename Vector>
__forceinline__ void store_16(void* p, const Vector& value, host::Site site = host::Site::here()) {
  static_assert(sizeof(Vector) == 16);
  host::store_vector(p, value, site);
}
#endif

/// 8 bytes of global or shared memory, as the pairs of neighbours that an mma accumulator holds.
#if defined(__CUDACC__)
template <typename Vector = float2>
__device__ __forceinline__ Vector load_8(const void* p) {
  static_assert(sizeof(Vector) == 8);
  return *static_cast<const Vector*>(p);
}
template <typename Vector>
__device__ __forceinline__ void store_8(void* p, const Vector& value) {
  static_assert(sizeof(Vector) == 8);
  *static_cast<Vector*>(p) = value;
}
#else
template <typename Vector = float2>
__forceinline__ Vector load_8(const void* p, host::Site site = host::Site::here()) {
  static_assert(sizeof(Vector) == 8);
  return host::load_vector<Vector>(p, site);
}
template <typename Vector>
__forceinline__ void store_8(void* p, const Vector& value, host::Site site = host::Site::here()) {
  static_assert(sizeof(Vector) == 8);
  host::store_vector(p, value, site);
}
#endif

}  // namespace striate::gpu
