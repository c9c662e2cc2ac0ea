#pragma once

#include <cstdint>

#include "kernels/gpu/platform.h"

#if !defined(__CUDACC__)
#include "kernels/gpu/host/checker.h"
#endif

namespace striate::gpu {

/// Tells the checking build of floating-point operations that this thread does outside the wrappers, which count their
/// own; a multiply-add is two. Nothing on a GPU.
__device__ __forceinline__ void count_flops([[maybe_unused]] uint64_t operations) {
#if !defined(__CUDACC__)
  host::count_flops(operations);
#endif
}

}  // namespace striate::gpu
