#include "engine/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/error.h"

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

class HostAllocator : public Allocator {
 public:
  ~HostAllocator() override { release_free(); }

  void* allocate(size_t bytes) override {
    require<Error>(bytes <= static_cast<size_t>(PTRDIFF_MAX), "out of memory: {} bytes asked for", bytes);
    const size_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    void* memory = nullptr;
    auto& free = free_[size];
    if (!free.empty()) {
      memory = free.back();
      free.pop_back();
    } else {
      memory = std::aligned_alloc(kAlignment, size);
      if (!memory) {
        release_free();
        memory = std::aligned_alloc(kAlignment, size);
      }
      require<Error>(memory != nullptr, "out of memory: {} bytes asked for, {} in use; use a smaller batch", bytes,
                     stats_.in_use);
      stats_.reserved += size;
      ++stats_.system_allocations;
    }
    stats_.in_use += size;
    stats_.peak = std::max(stats_.peak, stats_.in_use);
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(memory) + bytes, size - bytes);
    return memory;
  }

  void deallocate(void* memory, size_t bytes) noexcept override {
    const size_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    ASAN_POISON_MEMORY_REGION(memory, size);
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
        ASAN_UNPOISON_MEMORY_REGION(memory, size);
        std::free(memory);
        stats_.reserved -= size;
      }
      blocks.clear();
    }
  }

  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by size class
  AllocatorStats stats_;
};

}  // namespace

Allocator& allocator(Device) {
  // Never destroyed: tensors in static storage may outlive any order of destruction.
  static auto* host = new HostAllocator;
  return *host;
}

}  // namespace striate
