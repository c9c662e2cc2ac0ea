#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/gpu/memory.h"

namespace striate::bench {

/// `count` values that kernels and the host can reach. Contents are unspecified until they are filled.
template <typename T>
class DeviceValues {
 public:
  explicit DeviceValues(int64_t count)
      : count_(count),
        data_(static_cast<T*>(gpu::allocate(static_cast<size_t>(count) * sizeof(T), gpu::MemoryKind::managed))) {}
  ~DeviceValues() { gpu::release(data_, gpu::MemoryKind::managed); }
  DeviceValues(const DeviceValues&) = delete;
  DeviceValues& operator=(const DeviceValues&) = delete;

  operator T*() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  int64_t size() const { return count_; }

  /// Repeatable values in [0, 1), or small integers.
  DeviceValues& fill(uint32_t seed) {
    for (int64_t i = 0; i < count_; ++i) {
      seed = seed * 1664525u + 1013904223u;
      if constexpr (std::numeric_limits<T>::is_integer) {
        data_[i] = static_cast<T>(seed >> 29);
      } else if constexpr (std::is_same_v<T, bfloat16>) {
        data_[i] = to_bfloat16(static_cast<float>(seed >> 8) / 16777216.0f);
      } else {
        data_[i] = static_cast<T>(seed >> 8) / T{16777216};
      }
    }
    return *this;
  }

 private:
  int64_t count_;
  T* data_;
};

/// `count` values that kernels alone can reach. Contents are unspecified.
template <typename T>
class DeviceMemory {
 public:
  explicit DeviceMemory(int64_t count)
      : data_(static_cast<T*>(gpu::allocate(static_cast<size_t>(count) * sizeof(T), gpu::MemoryKind::device))) {}
  ~DeviceMemory() { gpu::release(data_, gpu::MemoryKind::device); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  T* data() const { return data_; }

 private:
  T* data_;
};

}  // namespace striate::bench
