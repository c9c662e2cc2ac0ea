#include "kernels/gpu/host/multiply_add.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gpu/host/multiply_add.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::gpu::host::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Eight columns at a time at most, so that a block of b's columns stays in registers or the nearest cache.
template <int kRows>
HWY_INLINE void multiply_add_rows(int columns, int depth, const float* a, const float* b, float* d) {
  const hn::CappedTag<float, 8> tag;
  const int lanes = static_cast<int>(hn::Lanes(tag));
  for (int c = 0; c < columns; c += lanes) {
    hn::Vec<decltype(tag)> sum[kRows];
    for (int r = 0; r < kRows; ++r) sum[r] = hn::LoadU(tag, d + r * columns + c);
    for (int k = 0; k < depth; ++k) {
      const auto b_row = hn::LoadU(tag, b + k * columns + c);
      for (int r = 0; r < kRows; ++r) sum[r] = hn::MulAdd(hn::Set(tag, a[r * depth + k]), b_row, sum[r]);
    }
    for (int r = 0; r < kRows; ++r) hn::StoreU(sum[r], tag, d + r * columns + c);
  }
}

void multiply_add(int rows, int columns, int depth, const float* a, const float* b, float* d) {
  constexpr int kRows = 8;  // enough independent sums to hide the latency of a multiply-add
  for (int r = 0; r + kRows <= rows; r += kRows) {
    multiply_add_rows<kRows>(columns, depth, a + r * depth, b, d + r * columns);
  }
}

}  // namespace striate::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::gpu::host {

HWY_EXPORT(multiply_add);

void multiply_add(int rows, int columns, int depth, const float* a, const float* b, float* d) {
  HWY_DYNAMIC_DISPATCH(multiply_add)(rows, columns, depth, a, b, d);
}

}  // namespace striate::gpu::host
#endif
