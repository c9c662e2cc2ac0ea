#pragma once

#include <cstddef>

#include "kernels/gpu/platform.h"

namespace striate::gpu {

/// The block's dynamic shared memory, 16-byte aligned; its size is given at the launch.
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ uint4 striate_dynamic_shared[];
  return reinterpret_cast<T*>(striate_dynamic_shared);
#else
  return reinterpret_cast<T*>(host::dynamic_shared_bytes().data());
#endif
}

/// STRIATE_SHARED(float, tile, [64][33]); declares a shared array of the block. On the host its bytes start as 0xFF.
#if defined(__CUDACC__)
#define STRIATE_SHARED(type, name, extents) __shared__ type name extents
#else
#define STRIATE_SHARED(type, name, extents)       \
  static const char name##_tag = 0;               \
  using name##_type = type extents;               \
  name##_type& name = *static_cast<name##_type*>( \
      ::striate::gpu::host::static_shared(&name##_tag, #name, sizeof(name##_type), alignof(name##_type)))
#endif

}  // namespace striate::gpu
