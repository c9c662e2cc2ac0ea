#include "engine/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/memory.h"
#include "kernels/out_of_memory.h"

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
    throw OutOfMemoryError<Error>(
        fmt::format("out of memory: {} bytes asked for, {} in use; use a smaller batch", bytes, in_use));
  }
  bool watched() const override { return true; }
};

class GpuMemory : public MemorySource {
 public:
  void* allocate(size_t bytes) override { return gpu::allocate_or_null(bytes, gpu::MemoryKind::device); }
  void release(void* memory) noexcept override { gpu::release(memory, gpu::MemoryKind::device); }
  void throw_exhausted(size_t bytes, size_t in_use) const override {
    throw OutOfMemoryError<CudaError>(
        fmt::format("out of GPU memory: {} bytes asked for, {} in use; use a smaller batch", bytes, in_use));
  }
  bool watched() const override { return !gpu::built_for_gpu(); }
};

/// Addresses that nobody may follow, each used once.
class PretendedMemory : public MemorySource {
 public:
  void* allocate(size_t bytes) override { return reinterpret_cast<void*>(std::exchange(next_, next_ + bytes)); }
  void release(void* /*memory*/) noexcept override {}
  void throw_exhausted(size_t bytes, size_t /*in_use*/) const override {
    throw Error(fmt::format("{} bytes are more than there can be", bytes));
  }
  bool watched() const override { return false; }

 private:
  uintptr_t next_ = kAlignment;
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
    Pool* const pool = pool_in_use();
    if (pool != nullptr) memory = take(pool->free, size);
    if (!memory) {
      memory = take(everybody_.free, size);
      if (memory && pool != nullptr) adopt(memory, size, *pool);
    }
    if (!memory) {
      memory = source_->allocate(size);
      if (!memory) {
        release_free();
        memory = source_->allocate(size);
      }
      if (!memory) source_->throw_exhausted(bytes, stats_.in_use);
      stats_.reserved += size;
      ++stats_.system_allocations;
      if (pool != nullptr) adopt(memory, size, *pool);
    }
    stats_.in_use += size;
    stats_.peak = std::max(stats_.peak, stats_.in_use);
    if (observer_ != nullptr) observer_->allocated(memory, bytes);
    if (source_->watched() && pool == nullptr) {
      ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
      ASAN_POISON_MEMORY_REGION(static_cast<char*>(memory) + bytes, size - bytes);
    }
    return memory;
  }

  void deallocate(void* memory, size_t bytes) noexcept override {
    const size_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    if (observer_ != nullptr) observer_->freed(memory);
    const auto owner = owners_.find(memory);
    Pool& pool = owner != owners_.end() ? *owner->second : everybody_;
    if (source_->watched() && &pool == &everybody_) ASAN_POISON_MEMORY_REGION(memory, size);
    pool.free[size].push_back(memory);
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

  void* make_pool() override { return new Pool{this, {}}; }

  void end_pool(void* handle) noexcept override {
    const std::unique_ptr<Pool> pool(static_cast<Pool*>(handle));
    std::lock_guard lock(mutex_);
    std::erase_if(owners_, [&](const auto& owner) { return owner.second == pool.get(); });
    for (auto& [size, blocks] : pool->free) {
      for (void* memory : blocks) {
        if (source_->watched()) ASAN_POISON_MEMORY_REGION(memory, size);
        everybody_.free[size].push_back(memory);
      }
    }
  }

  void* use_pool(void* pool) noexcept override { return std::exchange(in_use, static_cast<Pool*>(pool)); }

  void observe(AllocationObserver* observer) override {
    std::lock_guard lock(mutex_);
    observer_ = observer;
  }

 private:
  struct Pool {
    const CachingAllocator* allocator;
    std::map<size_t, std::vector<void*>> free{};  // by size class
  };

  Pool* pool_in_use() const { return in_use != nullptr && in_use->allocator == this ? in_use : nullptr; }

  static void* take(std::map<size_t, std::vector<void*>>& free, size_t size) {
    const auto blocks = free.find(size);
    if (blocks == free.end() || blocks->second.empty()) return nullptr;
    void* memory = blocks->second.back();
    blocks->second.pop_back();
    return memory;
  }

  /// A graph's kernels come back to a block when it counts as free: the sanitizer is not to watch it.
  void adopt(void* memory, size_t size, Pool& pool) {
    owners_[memory] = &pool;
    if (source_->watched()) ASAN_UNPOISON_MEMORY_REGION(memory, size);
  }

  void release_free() {
    for (auto& [size, blocks] : everybody_.free) {
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
  Pool everybody_{this};
  std::unordered_map<void*, Pool*> owners_;  // of blocks that are not everybody's
  AllocatorStats stats_;
  static thread_local Pool* in_use;
  AllocationObserver* observer_ = nullptr;
};
thread_local CachingAllocator::Pool* CachingAllocator::in_use = nullptr;

}  // namespace

MemoryPool::MemoryPool(Device device) : allocator_(allocator(device)), pool_(allocator_.make_pool()) {}
MemoryPool::~MemoryPool() { allocator_.end_pool(pool_); }

MemoryPool::Use::Use(MemoryPool& pool) : allocator_(pool.allocator_), before_(allocator_.use_pool(pool.pool_)) {}
MemoryPool::Use::~Use() { allocator_.use_pool(before_); }

Allocator& allocator(Device device) {
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static auto* host = new CachingAllocator(std::make_unique<HostMemory>());
  static auto* cuda = new CachingAllocator(std::make_unique<GpuMemory>());
  return on_host(device) ? *host : *cuda;
}

std::unique_ptr<Allocator> make_pretended_allocator() {
  return std::make_unique<CachingAllocator>(std::make_unique<PretendedMemory>());
}

}  // namespace striate
