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

/// 16 bytes by way of the L2 alone; zeros where not `valid`, and then `global` is not read. Both 16-byte aligned.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid STRIATE_CALLER) {
#if defined(__CUDACC__)
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
      : "memory");
#else
  host::report_async_issued(shared, 16, global, valid ? 16 : 0);
  host::cp_async(shared, global, 16, valid ? 16 : 0, caller);
#endif
}

/// 8 bytes, through the L1. As above.
__device__ __forceinline__ void cp_async_8(void* shared, const void* global, bool valid STRIATE_CALLER) {
#if defined(__CUDACC__)
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(__cvta_generic_to_global(global)), "r"(valid ? 8 : 0)
      : "memory");
#else
  host::report_async_issued(shared, 8, global, valid ? 8 : 0);
  host::cp_async(shared, global, 8, valid ? 8 : 0, caller);
#endif
}

/// 4 bytes, through the L1. As above.
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, bool valid STRIATE_CALLER) {
#if defined(__CUDACC__)
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(__cvta_generic_to_global(global)), "r"(valid ? 4 : 0)
      : "memory");
#else
  host::report_async_issued(shared, 4, global, valid ? 4 : 0);
  host::cp_async(shared, global, 4, valid ? 4 : 0, caller);
#endif
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
