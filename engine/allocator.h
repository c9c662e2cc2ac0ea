#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/device.h"

namespace striate {

/// Figures of a device's allocator, in bytes.
struct AllocatorStats {
  size_t in_use = 0;               ///< handed out now
  size_t peak = 0;                 ///< most handed out since reset_peak()
  size_t reserved = 0;             ///< held from the system, handed out or kept for reuse
  int64_t system_allocations = 0;  ///< requests that the system had to answer; constant in steady-state training
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
  /// Gives what is not in use back to the system.
  virtual void trim() = 0;
};

/// The allocator of a device; reference and cpu share the host's.
Allocator& allocator(Device device);

}  // namespace striate
