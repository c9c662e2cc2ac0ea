#pragma once

#include <cstdint>

namespace striate::gemm {

/// Fetches `rows` rows of `columns` floats, `stride` floats apart, into the second-level cache, some lines at each
/// call: what the next step copies, while this one multiplies.
class Prefetch {
 public:
  Prefetch() = default;
  Prefetch(const float* from, int64_t stride, int64_t rows, int64_t columns)
      : row_(from), stride_(stride), rows_(rows), columns_(columns) {}

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
  static constexpr int64_t kLine = 16;  // floats in a cache line
  const float* row_ = nullptr;
  int64_t stride_ = 0, rows_ = 0, columns_ = 0, column_ = 0;
};

}  // namespace striate::gemm
