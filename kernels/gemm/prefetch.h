#pragma once

#include <cstddef>
#include <cstdint>

namespace striate::gemm {

/// Fetches `rows` rows of `columns` values, `stride` values apart, into the second-level cache, some lines at each
/// call: what the next step copies, while this one multiplies.
class Prefetch {
 public:
  Prefetch() = default;
  template <typename T>
  Prefetch(const T* from, int64_t stride, int64_t rows, int64_t columns)
      : row_(reinterpret_cast<const std::byte*>(from)),
        stride_(stride * kSize<T>),
        rows_(rows),
        columns_(columns * kSize<T>) {}

  /// Lines that `calls` calls of fetch() should take each.
  int64_t share(int64_t calls) const { return rows_ * ((columns_ + kLine - 1) / kLine) / calls + 1; }

  void fetch(int64_t lines) {
    for (; rows_ > 0 && lines > 0; --lines) {
      __builtin_prefetch(row_ + column_, 0, 2);
      if ((column_ += kLine) >= columns_) {
        column_ = 0;
        row_ += stride_;
        --rows_;
      }
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  template <typename T>
  static constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  const std::byte* row_ = nullptr;
  int64_t stride_ = 0, rows_ = 0, columns_ = 0, column_ = 0;  // bytes, but for rows
};

}  // namespace striate::gemm
