#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

/// Runs a kernel's own source on the host: every CUDA thread of a block is a fiber, all fibers of a block stay on one
/// thread of the operating system, several blocks run at once. What CUDA leaves undefined ends the process with the
/// kernel, the block and the thread named.
namespace striate::gpu::host {

class AsyncCopies;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3() = default;
  constexpr Dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr uint64_t count() const { return uint64_t{x} * y * z; }
};

/// A line of a kernel's source.
struct Site {
  const char* file;
  int line;
  /// Where the caller stands; as a default argument: where its caller stands.
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  friend bool operator==(const Site& a, const Site& b) { return a.line == b.line && a.file == b.file; }
};

// What a thread sees of itself, by value: in registers, no access to memory. Only valid inside a kernel.
Dim3 thread_index();
Dim3 block_index();
Dim3 block_dim();
Dim3 grid_dim();

/// __syncthreads(): all threads of the block, at one line of the source. A thread that left the kernel before, and
/// threads that wait at different lines, are errors.
void sync_threads(Site site);

/// The block's dynamic shared memory, 16-byte aligned, filled with 0xFF (a NaN in every float format) as the block
/// begins.
std::span<std::byte> dynamic_shared_bytes();
/// A __shared__ variable: the same memory for every thread of the block that comes with this `tag`, filled with 0xFF.
void* static_shared(const void* tag, const char* name, size_t bytes, size_t alignment);

/// The current thread's cp.async copies. Leaving the kernel before all of them were waited for is an error.
AsyncCopies& async_copies();

/// Whether all of these bytes belong to the block's shared memory.
bool is_shared(const void* p, size_t bytes);

constexpr int kWarpSize = 32;
constexpr uint32_t kFullMask = 0xFFFFFFFFu;

/// The lane of the current thread in its warp.
int lane_id();

/// Where the lanes of a warp meet: every lane of `mask` brings the address of its operands, the last to come calls
/// `compute`, which reads and writes the operands of all of them in place (lanes are fibers of one thread, so each sees
/// the others' stacks). Lanes that come with overlapping masks that differ, with another op or from another line, that
/// have left the kernel or are not in the block, are errors. compute(mask, lanes): the addresses, by lane; those of
/// lanes outside `mask` are unspecified.
using WarpLanes = void* const (&)[kWarpSize];
using WarpCompute = void (*)(uint32_t mask, WarpLanes lanes);
constexpr const char* kSyncWarp = "__syncwarp";  ///< the one op that orders the lanes' accesses to memory
void warp_meet(const char* op, Site site, uint32_t mask, void* operands, WarpCompute compute);

/// Ends the process: "kernel …, block (…), thread (…): message".
[[noreturn]] void fail(const char* message);

}  // namespace striate::gpu::host
