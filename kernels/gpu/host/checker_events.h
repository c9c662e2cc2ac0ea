#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gpu/host/grid.h"

// What the scheduler tells the checking build (preset host-race). Empty in every other build.
namespace striate::gpu::host::events {

#if defined(STRIATE_CHECKED_HOST)

/// One launch, and of it one block at a time, is under way: the blocks of a checked launch run one after another.
constexpr bool kSerial = true;

void launch_begins(const Launch& launch, const char* kernel);
void launch_ends();
/// How many of a launch's blocks run, and the n-th of them: all, but while a checked::BlockSample lives.
uint64_t blocks_to_run(uint64_t blocks);
uint64_t block_to_run(uint64_t n, uint64_t of, uint64_t blocks);
void block_begins(const Dim3& index);
void block_ends();
/// The addresses set apart for the block's shared memory, and the parts of them that the kernel may use.
void shared_window(const void* p, size_t bytes);
void shared_part(const void* p, size_t bytes, const char* name);
/// The stack that the next threads run on: local memory, which is not looked at.
void stack_is(const void* low, size_t bytes);
/// What follows is done by this thread of the block; after thread_ends(), by none.
void thread_runs(unsigned linear);
void thread_ends();
/// Every thread of the block has reached __syncthreads().
void barrier();
/// Lanes of a warp have come together, in __syncwarp() or in an operation that doesn't order memory.
void lanes_meet(unsigned warp, uint32_t lanes, bool orders_memory);

/// While one lives, accesses are none of the kernel's: what the host does for a thread of it. (Inline functions may be
/// the instrumented ones: the linker keeps one of all copies.) The thread may give way to others meanwhile.
class Pause {
 public:
  Pause();
  ~Pause();
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

 private:
  bool in_kernel_;
  unsigned thread_;
};

#else

constexpr bool kSerial = false;

inline void launch_begins(const Launch&, const char*) {}
inline void launch_ends() {}
inline uint64_t blocks_to_run(uint64_t blocks) { return blocks; }
inline uint64_t block_to_run(uint64_t n, uint64_t, uint64_t) { return n; }
inline void block_begins(const Dim3&) {}
inline void block_ends() {}
inline void shared_window(const void*, size_t) {}
inline void shared_part(const void*, size_t, const char*) {}
inline void stack_is(const void*, size_t) {}
inline void thread_runs(unsigned) {}
inline void thread_ends() {}
inline void barrier() {}
inline void lanes_meet(unsigned, uint32_t, bool) {}
class Pause {
 public:
  Pause() {}
};

#endif

}  // namespace striate::gpu::host::events
