#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gpu/platform.h"

#if !defined(__CUDACC__)
#include "kernels/gpu/host/async_copy.h"
#include "kernels/gpu/host/checker.h"
#endif

// Copies from global to shared memory that pass by the registers, and their groups. PTX ISA, "Data Movement and
// Conversion Instructions: Asynchronous copy". A thread sees its own copies after it has waited for them, the others
// after a barrier on top. On the host nothing arrives before the wait, and the destination is NaN until then.

namespace striate::gpu {

/// cp.async of 16 bytes, by way of the L2 alone, or of 8 or 4, through the L1.
template <int kBytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, bool valid STRIATE_CALLER) {
  static_assert(kBytes == 16 || kBytes == 8 || kBytes == 4);
#if defined(__CUDACC__)
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const auto from = __cvta_generic_to_global(global);
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(kBytes),
                 "r"(valid ? kBytes : 0)
                 : "memory");
  }
#else
  host::report_async_issued(shared, kBytes, global, valid ? kBytes : 0);
  host::cp_async(shared, global, kBytes, valid ? kBytes : 0, caller);
#endif
}

/// Zeros where not `valid`, and then `global` is not read. Both addresses are multiples of the size.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid STRIATE_CALLER) {
  cp_async<16>(shared, global, valid STRIATE_FOR_CALLER);
}
__device__ __forceinline__ void cp_async_8(void* shared, const void* global, bool valid STRIATE_CALLER) {
  cp_async<8>(shared, global, valid STRIATE_FOR_CALLER);
}
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, bool valid STRIATE_CALLER) {
  cp_async<4>(shared, global, valid STRIATE_FOR_CALLER);
}

/// Closes a group of this thread's copies; an empty one counts too.
__device__ __forceinline__ void cp_async_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  host::cp_async_commit();
#endif
}

/// Waits for all groups of this thread but the newest kGroupsLeft. Copies in no group yet are not waited for. A kernel
/// must have waited for all its copies when it ends.
template <int kGroupsLeft>
__device__ __forceinline__ void cp_async_wait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
#else
  host::cp_async_wait(kGroupsLeft);
#endif
}

}  // namespace striate::gpu
