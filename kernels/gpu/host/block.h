#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

/// Runs a kernel's own source on the host: every CUDA thread of a block is a fiber, all fibers of a block stay on one
/// thread of the operating system, several blocks run at once. What CUDA leaves undefined ends the process with the
/// kernel, the block and the thread named.
namespace striate::gpu::host {

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
  friend bool operator==(const Site& a, const Site& b) { return a.line == b.line && a.file == b.file; }
};

struct Launch {
  const char* text;  ///< the launch's arguments as written; the kernel's name comes first
  const char* file;
  int line;
  Dim3 grid, block;
  size_t shared_bytes;
  void (*body)(const void* call);  ///< the kernel for the thread that is current
  const void* call;
};

/// Runs every thread of the grid; returns when all are done.
void run_grid(const Launch& launch);

// What a thread sees of itself. Only valid inside a kernel.
const Dim3& thread_index();
const Dim3& block_index();
const Dim3& block_dim();
const Dim3& grid_dim();

/// __syncthreads(): all threads of the block, at one line of the source. A thread that left the kernel before, and
/// threads that wait at different lines, are errors.
void sync_threads(Site site);

/// The block's dynamic shared memory, 16-byte aligned, filled with 0xFF (a NaN in every float format) as the block
/// begins.
std::span<std::byte> dynamic_shared_bytes();
/// A __shared__ variable: the same memory for every thread of the block that comes with this `tag`, filled with 0xFF.
void* static_shared(const void* tag, size_t bytes, size_t alignment);

constexpr int kWarpSize = 32;
constexpr uint32_t kFullMask = 0xFFFFFFFFu;

/// The lane of the current thread in its warp.
int lane_id();

/// Where the lanes of a warp meet: every lane of `mask` brings `in`, the last to come calls `compute` for all of them,
/// each takes its `out`. Lanes that come with overlapping masks that differ, with another op or from another line, that
/// have left the kernel or are not in the block, are errors. compute(argument, mask, in, out): 32 slots of kSlotBytes
/// bytes each, those of lanes outside `mask` unspecified.
constexpr size_t kSlotBytes = 64;
using Slots = std::byte[kWarpSize][kSlotBytes];
using WarpCompute = void (*)(const void* argument, uint32_t mask, const Slots& in, Slots& out);
void warp_meet(const char* op, Site site, uint32_t mask, const void* in, size_t in_bytes, void* out, size_t out_bytes,
               WarpCompute compute, const void* argument);

/// Ends the process: "kernel …, block (…), thread (…): message".
[[noreturn]] void fail(const char* message);

}  // namespace striate::gpu::host
