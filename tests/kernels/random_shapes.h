#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

// Before Highway: the sets that the kernels are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "kernels/context.h"
#include "kernels/error.h"
#include "tests/support/guarded_buffer.h"

// What the tests on random small shapes share: every instruction set, operands and scratch memory at the edge of pages
// that fault, the scratch full of NaN.

namespace striate::test {

/// `bytes` bytes that end, or begin, at the edge of a page beyond which no access is allowed; the rest of their own
/// pages holds sentinels.
class EdgeOfPages {
 public:
  EdgeOfPages(size_t bytes, bool at_end) : bytes_(bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    inner_ = (bytes + page - 1) / page * page;
    mapped_ = inner_ + 2 * page;
    void* const base = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<unsigned char*>(base);
    first_ = base_ + page;
    if (inner_ > 0 && mprotect(first_, inner_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    std::memset(first_, kSentinel, inner_);
    data_ = at_end ? first_ + inner_ - bytes : first_;
  }
  ~EdgeOfPages() {
    if (base_) munmap(base_, mapped_);
  }
  EdgeOfPages(EdgeOfPages&& other) noexcept
      : bytes_(other.bytes_),
        inner_(other.inner_),
        mapped_(other.mapped_),
        base_(std::exchange(other.base_, nullptr)),
        first_(other.first_),
        data_(other.data_) {}

  unsigned char* data() const { return data_; }
  bool intact() const {
    const auto is_sentinel = [](unsigned char c) { return c == kSentinel; };
    return std::all_of(first_, data_, is_sentinel) && std::all_of(data_ + bytes_, first_ + inner_, is_sentinel);
  }

 private:
  static constexpr unsigned char kSentinel = 0xA5;
  size_t bytes_, inner_ = 0, mapped_ = 0;
  unsigned char *base_ = nullptr, *first_ = nullptr, *data_ = nullptr;
};

/// Every request gets memory of its own, full of NaN, and the one before is gone.
class PoisonedWorkspace : public Workspace {
 public:
  void* reserve(size_t bytes) override {
    EXPECT_TRUE(intact());
    memory_.reset();
    memory_.emplace((bytes + 63) / 64 * 64, true);
    std::memset(memory_->data(), 0xFF, bytes);
    return memory_->data();
  }
  bool intact() const { return !memory_ || memory_->intact(); }

 private:
  std::optional<EdgeOfPages> memory_;
};

/// Values at the end of a page, aligned to nothing but themselves, or at the beginning of one.
template <typename T>
class Edged {
 public:
  Edged(int64_t count, bool at_end, T fill = poison<T>())
      : count_(count), pages_(static_cast<size_t>(count) * sizeof(T), at_end) {
    std::fill(data(), data() + count, fill);
  }
  Edged(const Values<T>& values, bool at_end) : Edged(static_cast<int64_t>(values.size()), at_end) {
    std::copy(values.begin(), values.end(), data());
  }
  T* data() { return reinterpret_cast<T*>(pages_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(pages_.data()); }
  int64_t size() const { return count_; }
  bool intact() const { return pages_.intact(); }
  bool same_bits(const Edged& other) const {
    return std::memcmp(data(), other.data(), static_cast<size_t>(count_) * sizeof(T)) == 0;
  }

 private:
  int64_t count_;
  EdgeOfPages pages_;
};
using Floats = Edged<float>;

/// The same numbers from a seed everywhere.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  int64_t one_of(std::initializer_list<int64_t> values) {
    return values.begin()[between(0, static_cast<int64_t>(values.size()) - 1)];
  }
  bool chance(int64_t percent) { return between(1, 100) <= percent; }

 private:
  std::mt19937 engine_;  // whose numbers the standard fixes
};

/// One of the instruction sets that kernels are compiled for and this machine has, while it lives.
class RandomTarget {
 public:
  explicit RandomTarget(Random& random) {
    const auto targets = hwy::SupportedAndGeneratedTargets();
    target_ = targets[static_cast<size_t>(random.between(0, static_cast<int64_t>(targets.size()) - 1))];
    choose(target_);
  }
  ~RandomTarget() { choose(0); }
  RandomTarget(const RandomTarget&) = delete;
  RandomTarget& operator=(const RandomTarget&) = delete;
  std::string name() const { return hwy::TargetName(target_); }

 private:
  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  int64_t target_;
};

inline bool is_valid(const auto& s) {
  try {
    s.check();
  } catch (const ShapeError&) {
    return false;
  }
  return true;
}

inline int64_t channels(Random& random) {
  return random.one_of({1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 17, 24, 28, 31, 32, 33, 40, 48, 63, 64, 65, 72});
}

/// As many rounds as usual, or as STRIATE_RANDOM_ROUNDS asks for; STRIATE_RANDOM_SEED begins with other shapes.
inline int rounds(int usual) {
  const char* asked = std::getenv("STRIATE_RANDOM_ROUNDS");
  return asked ? std::atoi(asked) : usual;
}
inline uint32_t first_seed() {
  const char* asked = std::getenv("STRIATE_RANDOM_SEED");
  return asked ? static_cast<uint32_t>(std::atoi(asked)) : 1;
}

}  // namespace striate::test
