#include "engine/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace striate {

namespace {

constexpr size_t kAlignment = 64;

/// Size classes an eighth of a power of two apart: at most 12.5 % is wasted, and the sizes of a network's tensors,
/// which recur step after step, find their own class again.
size_t size_class(size_t bytes) {
  const size_t least = std::max(bytes, kAlignment);
  const size_t unit = std::max(kAlignment, std::bit_floor(least) / 8);
  return (least + unit - 1) / unit * unit;
}

/// Where an allocator gets its blocks from.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// At least kAlignment-aligned; null where there is no more.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  [[noreturn]] virtual void throw_exhausted(size_t bytes, size_t in_use) const = 0;
  /// Whether this process runs what uses the memory, so that the address sanitizer can watch it.
  virtual bool watched() const = 0;
};

class HostMemory : public MemorySource {
 public:
  void* allocate(size_t bytes) override { return std::aligned_alloc(kAlignment, bytes); }
  void release(void* memory) noexcept override { std::free(memory); }
  void throw_exhausted(size_t bytes, size_t in_use) const override {
    throw Error(fmt::format("out of memory: {} bytes asked for, {} in use; use a smaller batch", bytes, in_use));
  }
  bool watched() const override { return true; }
};

class GpuMemory : public MemorySource {
 public:
  void* allocate(size_t bytes) override { return gpu::allocate_or_null(bytes, gpu::MemoryKind::device); }
  void release(void* memory) noexcept override { gpu::release(memory, gpu::MemoryKind::device); }
  void throw_exhausted(size_t bytes, size_t in_use) const override {
    throw CudaError(
        fmt::format("out of GPU memory: {} bytes asked for, {} in use; use a smaller batch", bytes, in_use));
  }
  bool watched() const override { return !gpu::built_for_gpu(); }
};

class CachingAllocator : public Allocator {
 public:
  explicit CachingAllocator(std::unique_ptr<MemorySource> source) : source_(std::move(source)) {}
  ~CachingAllocator() override { release_free(); }

  void* allocate(size_t bytes) override {
    std::lock_guard lock(mutex_);
    if (bytes > static_cast<size_t>(PTRDIFF_MAX)) source_->throw_exhausted(bytes, stats_.in_use);
    const size_t size = size_class(bytes);
    void* memory = nullptr;
    auto& free = free_[size];
    if (!free.empty()) {
      memory = free.back();
      free.pop_back();
    } else {
      memory = source_->allocate(size);
      if (!memory) {
        release_free();
        memory = source_->allocate(size);
      }
      if (!memory) source_->throw_exhausted(bytes, stats_.in_use);
      stats_.reserved += size;
      ++stats_.system_allocations;
    }
    stats_.in_use += size;
    stats_.peak = std::max(stats_.peak, stats_.in_use);
    if (source_->watched()) {
      ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
      ASAN_POISON_MEMORY_REGION(static_cast<char*>(memory) + bytes, size - bytes);
    }
    return memory;
  }

  void deallocate(void* memory, size_t bytes) noexcept override {
    const size_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    if (source_->watched()) ASAN_POISON_MEMORY_REGION(memory, size);
    free_[size].push_back(memory);
    stats_.in_use -= size;
  }

  AllocatorStats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() override {
    std::lock_guard lock(mutex_);
    stats_.peak = stats_.in_use;
  }

  void trim() override {
    std::lock_guard lock(mutex_);
    release_free();
  }

 private:
  void release_free() {
    for (auto& [size, blocks] : free_) {
      for (void* memory : blocks) {
        if (source_->watched()) ASAN_UNPOISON_MEMORY_REGION(memory, size);
        source_->release(memory);
        stats_.reserved -= size;
      }
      blocks.clear();
    }
  }

  std::unique_ptr<MemorySource> source_;
  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by size class
  AllocatorStats stats_;
};

}  // namespace

Allocator& allocator(Device device) {
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static auto* host = new CachingAllocator(std::make_unique<HostMemory>());
  static auto* cuda = new CachingAllocator(std::make_unique<GpuMemory>());
  return on_host(device) ? *host : *cuda;
}

}  // namespace striate
