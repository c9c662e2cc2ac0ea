// What max and average pooling share: rows of pixels over the threads, windows cut at the image's edges, runs of
// channels. No `#pragma once`: compiled for each instruction set, like kernels/simd.h.
#include <algorithm>
#include <type_traits>

#include "kernels/context.h"
#include "kernels/simd.h"

#if defined(STRIATE_KERNELS_POOL2D_CPU_ROWS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRIATE_KERNELS_POOL2D_CPU_ROWS_H_
#undef STRIATE_KERNELS_POOL2D_CPU_ROWS_H_
#else
#define STRIATE_KERNELS_POOL2D_CPU_ROWS_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {

struct Range {
  int64_t begin, end;
};

// Calls fn(tag, row) for each of `rows` rows of `row_values` floats, in parallel, with vectors that C channels fill.
template <typename Fn>
void for_each_row(int64_t rows, int64_t row_values, int64_t C, Context& context, Fn&& fn) {
  constexpr int64_t kGrainValues = 16384;
  const int64_t grain = std::max<int64_t>(1, kGrainValues / row_values);
  context.threads->parallel_for(rows, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    with_channel_vectors(C, [&](auto d) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) fn(d, row);
    });
    hwy::FlushStream();
  });
}

// The pixels of the window at output coordinate p that lie inside [0, size).
inline Range window(int64_t p, int64_t stride, int64_t pad, int64_t extent, int64_t size) {
  const int64_t first = p * stride - pad;
  return {std::max<int64_t>(0, first), std::min(size, first + extent)};
}

// The output coordinates whose windows hold pixel h.
inline Range windows_of(int64_t h, int64_t stride, int64_t pad, int64_t extent, int64_t outputs) {
  const int64_t last = h + pad;  // p·stride ≤ h + pad < p·stride + extent
  return {last < extent ? 0 : (last - extent) / stride + 1, std::min(outputs, last / stride + 1)};
}

// Calls fn(c, number of vectors) for runs of four vectors of channels, then single ones, the last of which overlaps.
// Reading a pixel's channels in one go is what the hardware's prefetcher foresees.
template <class D, typename Fn>
HWY_INLINE void for_each_channel_run(D d, int64_t C, Fn&& fn) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  if constexpr (fills_four_vectors(d)) {
    for (; c + 4 * lanes <= C; c += 4 * lanes) fn(c, std::integral_constant<size_t, 4>());
  }
  for (; c < C; c += lanes) fn(std::min(c, C - lanes), std::integral_constant<size_t, 1>());
}

// Fetches, a part at each call, the rows of the input that the next row of windows reads and this one does not: the
// jumps from row to row within a window are more than the hardware's prefetchers follow.
template <typename T>
class NextRows {
 public:
  // The rows begin at `first`; `parts` calls fetch `count` values of them, none at or past `end`.
  NextRows(const T* first, int64_t count, int64_t parts, const T* end)
      : at_(first), each_((count + parts - 1) / parts), end_(end) {}

  void fetch() {
    constexpr int64_t kLine = 64 / sizeof(T);
    const T* const stop = end_ - at_ < each_ ? end_ : at_ + each_;
    for (; at_ < stop; at_ += kLine) __builtin_prefetch(at_, 0, 2);  // into the second level: it is two rows ahead
  }

 private:
  const T* at_;
  int64_t each_;
  const T* end_;
};

}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
