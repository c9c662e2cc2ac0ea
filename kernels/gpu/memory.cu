#include "kernels/gpu/memory.h"

#include <utility>

#include "kernels/gpu/check.h"

#if defined(__CUDACC__)

#include <cuda_runtime.h>

namespace striate::gpu {

namespace {
/// A replay would find other bytes at a place of the host's that is not pinned, or none.
void require_recordable(const void* memory, const Stream& stream) {
  if (stream.recording() == nullptr) return;
  cudaPointerAttributes attributes{};
  CUDA_CHECK(cudaPointerGetAttributes(&attributes, memory));
  if (attributes.type == cudaMemoryTypeUnregistered) {
    throw_cuda_error("copy of memory that is not pinned", __FILE__, __LINE__,
                     "operation not permitted when stream is capturing");
  }
}
}  // namespace

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
  require_recordable(destination, stream);
  require_recordable(source, stream);
  stream.take({Work::Kind::copy, "", bytes});
  CUDA_CHECK(
      cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream.native())));
}

void set(void* destination, unsigned char value, size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  stream.take({Work::Kind::set, "", bytes});
  CUDA_CHECK(cudaMemsetAsync(destination, value, bytes, static_cast<cudaStream_t>(stream.native())));
}

}  // namespace striate::gpu

#else

#include <cstring>

#include "kernels/gpu/graph.h"
#include "kernels/gpu/host/memory.h"

namespace striate::gpu {

namespace {
void require_recordable(const void* memory, const Stream& stream) {
  if (stream.recording() != nullptr && !host::is_visible(memory)) {
    refuse_while_capturing("copy of memory that is not pinned");
  }
}

/// Does it now or, while the stream is captured, at every replay.
template <typename Step>
void give(Stream& stream, const Work& work, Step&& step) {
  stream.take(work);
  if (stream.recording() == nullptr) {
    step();
  } else {
    stream.recording()->steps.push_back(std::forward<Step>(step));
  }
}
}  // namespace

void* allocate_or_null(size_t bytes, MemoryKind kind) {
  refuse_unless_relaxed("allocation");
  return host::allocate_or_null(bytes, kind == MemoryKind::device);
}

void release(void* memory, MemoryKind kind) noexcept {
  Recording* recording = recording_of_this_thread();
  if (recording != nullptr && !recording->relaxed) recording->spoiled = true;
  host::release(memory, kind == MemoryKind::device);
}

void copy(void* destination, const void* source, size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  require_recordable(destination, stream);
  require_recordable(source, stream);
  give(stream, {Work::Kind::copy, "", bytes}, [=] {
    const host::DeviceAccess access;
    std::memmove(destination, source, bytes);
  });
}

void set(void* destination, unsigned char value, size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  give(stream, {Work::Kind::set, "", bytes}, [=] {
    const host::DeviceAccess access;
    std::memset(destination, value, bytes);
  });
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
