#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/device.h"

namespace striate {

/// Figures of a device's allocator, in bytes.
struct AllocatorStats {
  size_t in_use = 0;               ///< handed out now
  size_t peak = 0;                 ///< most handed out since reset_peak()
  size_t reserved = 0;             ///< held from the system, handed out or kept for reuse
  int64_t system_allocations = 0;  ///< requests that the system had to answer; constant in steady-state training
};

/// Sees what an allocator hands out and takes back, in order.
class AllocationObserver {
 public:
  virtual ~AllocationObserver() = default;
  virtual void allocated(const void* memory, size_t bytes) = 0;
  virtual void freed(const void* memory) = 0;
};

/// Memory of a device with reuse: a freed block is kept and given to the next request of its size class, at once: what
/// still uses it on a GPU comes before its next use, because all work goes through one stream. Blocks are 64-byte
/// aligned; contents are unspecified. Thread-safe.
class Allocator {
 public:
  virtual ~Allocator() = default;
  /// Throws Error (CudaError on cuda), naming the size, when the system has no more, even after trim(), or no object
  /// can be as large.
  virtual void* allocate(size_t bytes) = 0;
  virtual void deallocate(void* memory, size_t bytes) noexcept = 0;
  virtual AllocatorStats stats() const = 0;
  virtual void reset_peak() = 0;
  /// Gives what is not in use back to the system, but for what pools keep.
  virtual void trim() = 0;
  /// Told of every block from now on, within the allocator's lock; null: nobody is.
  virtual void observe(AllocationObserver* observer) = 0;

 protected:
  friend class MemoryPool;
  /// Blocks of one pool, by the pool's own handle; null: everybody's.
  virtual void* make_pool() = 0;
  virtual void end_pool(void* pool) noexcept = 0;
  /// Where this thread's requests are answered from now on; returns where they were.
  virtual void* use_pool(void* pool) noexcept = 0;
};

/// Memory of a device that is used over and over by work that finds it by its address, a captured graph: what is freed
/// comes back here and to nobody else while the pool lives. What is still in use at its end is everybody's once freed.
class MemoryPool {
 public:
  explicit MemoryPool(Device device);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// While one lives, this thread's requests of that device are answered out of the pool, which takes what it lacks
  /// from what everybody left free, or from the system.
  class Use {
   public:
    explicit Use(MemoryPool& pool);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Allocator& allocator_;
    void* before_;
  };

 private:
  Allocator& allocator_;
  void* pool_;
};

/// The allocator of a device; reference and cpu share the host's.
Allocator& allocator(Device device);

/// One that reuses blocks as the others do and hands out addresses without memory behind them: what a sequence of
/// requests would take. Never out of memory.
std::unique_ptr<Allocator> make_pretended_allocator();

}  // namespace striate
