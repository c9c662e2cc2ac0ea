#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/context.h"

namespace striate::gemm {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

/// Row stride for a gathered block of `depth` columns: an odd number of cache lines, so that the rows of a tile do not
/// meet in one set of the L1 cache.
constexpr int64_t padded_stride(int64_t depth) {
  const int64_t lines = ceil_div(depth, 16);
  return (lines + (lines % 2 == 0)) * 16;
}

/// [0, n) cut into `count` nearly equal parts whose inner borders are multiples of `unit`.
struct Parts {
  int64_t n, unit, count;
  Parts(int64_t size, int64_t unit_size, int64_t largest)
      : n(size), unit(unit_size), count(std::max<int64_t>(1, ceil_div(size, largest))) {}
  int64_t begin(int64_t i) const { return std::min(n, ceil_div(n, unit) * i / count * unit); }
  int64_t end(int64_t i) const { return begin(i + 1); }
  int64_t longest() const { return std::min(n, ceil_div(ceil_div(n, unit), count) * unit); }
};

/// Runs fn(item, scratch) for every item; items go to whichever thread is free, `scratch` is the thread's own part of
/// `floats_each` floats at `scratch_base`.
template <typename Fn>
void for_each_item(int64_t items, float* scratch_base, int64_t floats_each, Context& context, const Fn& fn) {
  std::atomic<int64_t> next{0};
  context.threads->run(std::min<int64_t>(context.threads->size(), items), [&](int64_t worker) {
    for (int64_t i = next.fetch_add(1); i < items; i = next.fetch_add(1)) fn(i, scratch_base + worker * floats_each);
  });
}

}  // namespace striate::gemm
