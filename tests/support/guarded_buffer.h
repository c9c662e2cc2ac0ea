#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "tests/support/visible_memory.h"

namespace striate::test {

/// What an output that must be overwritten is prefilled with: NaN, or an unlikely integer.
template <typename T>
constexpr T poison() {
  if constexpr (std::is_floating_point_v<T>) {
    return std::numeric_limits<T>::quiet_NaN();
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bfloat16(std::numeric_limits<float>::quiet_NaN());
  } else {
    return static_cast<T>(0x6d);
  }
}

/// `count` values of T, 256-byte aligned, visible to every backend, between two runs of sentinel bytes. A kernel that
/// writes past either end is caught by intact().
template <typename T>
class GuardedBuffer {
 public:
  explicit GuardedBuffer(int64_t count, T fill = poison<T>())
      : count_(count), bytes_(static_cast<size_t>(count) * sizeof(T)), memory_(allocate(bytes_ + 2 * kGuardBytes)) {
    std::memset(memory_.get(), kSentinel, bytes_ + 2 * kGuardBytes);
    std::fill(data(), data() + count, fill);
  }
  explicit GuardedBuffer(const Values<T>& values) : GuardedBuffer(static_cast<int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), data());
  }

  T* data() { return reinterpret_cast<T*>(memory_.get() + kGuardBytes); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.get() + kGuardBytes); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  Values<T> values() const { return Values<T>(data(), data() + count_); }
  operator std::span<const T>() const { return {data(), static_cast<size_t>(count_)}; }

  testing::AssertionResult intact() const {
    const unsigned char* p = memory_.get();
    for (size_t i = 0; i < kGuardBytes; ++i) {
      if (p[kGuardBytes - 1 - i] != kSentinel) {
        return testing::AssertionFailure() << "written " << i + 1 << " bytes before the start of the buffer";
      }
      if (p[kGuardBytes + bytes_ + i] != kSentinel) {
        return testing::AssertionFailure() << "written " << i << " bytes past the end of the buffer";
      }
    }
    return testing::AssertionSuccess();
  }

 private:
  static constexpr size_t kGuardBytes = 256;  // four cache lines: the widest vector a kernel may write at once
  static constexpr unsigned char kSentinel = 0xA5;

  struct Free {
    void operator()(unsigned char* p) const { release_visible(p); }
  };
  using Memory = std::unique_ptr<unsigned char[], Free>;
  static Memory allocate(size_t bytes) { return Memory(static_cast<unsigned char*>(allocate_visible(bytes))); }

  int64_t count_;
  size_t bytes_;
  Memory memory_;
};

}  // namespace striate::test
