#include "kernels/gpu/memory.h"

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include "kernels/gpu/check.h"

namespace striate::gpu {

void* allocate_or_null(size_t bytes, MemoryKind kind) {
  void* memory = nullptr;
  cudaError_t status = cudaSuccess;
  switch (kind) {
    case MemoryKind::device:
      status = cudaMalloc(&memory, bytes > 0 ? bytes : 1);
      break;
    case MemoryKind::pinned:
      status = cudaMallocHost(&memory, bytes > 0 ? bytes : 1);
      break;
    case MemoryKind::managed:
      status = cudaMallocManaged(&memory, bytes > 0 ? bytes : 1);
      break;
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the failure is answered for: it must not come up again at the next check
    return nullptr;
  }
  CUDA_CHECK(status);
  return memory;
}

void release(void* memory, MemoryKind kind) noexcept {
  if (kind == MemoryKind::pinned) {
    cudaFreeHost(memory);
  } else {
    cudaFree(memory);
  }
}

void copy(void* destination, const void* source, size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  CUDA_CHECK(
      cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream.native())));
}

void set(void* destination, unsigned char value, size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  CUDA_CHECK(cudaMemsetAsync(destination, value, bytes, static_cast<cudaStream_t>(stream.native())));
}

}  // namespace striate::gpu

#else

#include <cstring>

#include "kernels/gpu/check.h"
#include "kernels/gpu/host/memory.h"

namespace striate::gpu {

void* allocate_or_null(size_t bytes, MemoryKind kind) {
  return host::allocate_or_null(bytes, kind == MemoryKind::device);
}
void release(void* memory, MemoryKind kind) noexcept { host::release(memory, kind == MemoryKind::device); }

void copy(void* destination, const void* source, size_t bytes, Stream&) {
  if (bytes == 0) return;
  const host::DeviceAccess access;
  std::memmove(destination, source, bytes);
}

void set(void* destination, unsigned char value, size_t bytes, Stream&) {
  if (bytes == 0) return;
  const host::DeviceAccess access;
  std::memset(destination, value, bytes);
}

}  // namespace striate::gpu

#endif

namespace striate::gpu {

void* allocate(size_t bytes, MemoryKind kind) {
  void* memory = allocate_or_null(bytes, kind);
  if (!memory) throw_out_of_memory(bytes);
  return memory;
}

GpuWorkspace::~GpuWorkspace() {
  if (memory_) release(memory_, kind_);
}

void* GpuWorkspace::reserve(size_t bytes) {
  if (bytes > bytes_) {
    if (memory_) release(memory_, kind_);
    memory_ = nullptr;
    bytes_ = 0;
    memory_ = allocate(bytes, kind_);
    bytes_ = bytes;
  }
  return memory_;
}

}  // namespace striate::gpu
