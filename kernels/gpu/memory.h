#pragma once

#include <cstddef>

#include "kernels/context.h"
#include "kernels/gpu/stream.h"

namespace striate::gpu {

/// Where memory lies and who may touch it.
///   device   the GPU alone. In a host build the process's own memory, which is unreadable but while kernels and copies
///            run: host code that follows a device pointer crashes there as it would with a GPU.
///   pinned   the host, page-locked: copies to and from it run beside kernels
///   managed  both, moved by the driver; for tests
enum class MemoryKind { device, pinned, managed };

/// At least `bytes` bytes, 256-byte aligned, contents unspecified. Throws CudaError, naming the size, when there is no
/// room. Slow, and waits for the GPU: the engine's allocator keeps and reuses what it gets from here.
void* allocate(size_t bytes, MemoryKind kind);
/// The same; null when there is no room.
void* allocate_or_null(size_t bytes, MemoryKind kind);
/// Frees what allocate() gave. Waits for the work that may still use it.
void release(void* memory, MemoryKind kind) noexcept;

/// In the stream's order; either side may be device, pinned, managed or plain host memory.
void copy(void* destination, const void* source, size_t bytes, Stream& stream);
/// Every byte of `destination` becomes `value`.
void set(void* destination, unsigned char value, size_t bytes, Stream& stream);

/// Scratch memory of one kind that grows to the largest request.
class GpuWorkspace : public Workspace {
 public:
  explicit GpuWorkspace(MemoryKind kind) : kind_(kind) {}
  ~GpuWorkspace() override;
  GpuWorkspace(const GpuWorkspace&) = delete;
  void* reserve(size_t bytes) override;

 private:
  MemoryKind kind_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace striate::gpu
