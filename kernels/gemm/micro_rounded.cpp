// bfloat16 products on CPUs that have no instruction for them: operands are rounded where they are packed and stay
// float32, the register tile is float32's. A product of two bfloat16 is exact in float32, so the results differ from
// those of VDPBF16PS by the order and rounding of the sums alone; the speed is float32's.
#include <algorithm>
#include <cstddef>

#include "kernels/gemm/micro_bf16.h"
#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/micro_rounded.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace striate::gemm::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// To nearest, ties to even; a NaN stays one.
template <class D>
HWY_INLINE hn::Vec<D> rounded(D tag, hn::Vec<D> v) {
  const hn::RebindToUnsigned<D> bits;
  const auto b = hn::BitCast(bits, v);
  const auto odd = hn::And(hn::ShiftRight<16>(b), hn::Set(bits, 1u));
  const auto up = hn::And(hn::Add(hn::Add(b, hn::Set(bits, 0x7FFFu)), odd), hn::Set(bits, 0xFFFF0000u));
  return hn::IfThenElse(hn::IsNaN(v), v, hn::BitCast(tag, up));
}

void round_values(float* p, int64_t n) {
  const hn::ScalableTag<float> tag;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(rounded(tag, hn::LoadU(tag, p + i)), tag, p + i);
  for (; i < n; ++i) hn::StoreU(rounded(one, hn::LoadU(one, p + i)), one, p + i);
}

}  // namespace striate::gemm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::gemm {

HWY_EXPORT(round_values);

void round_to_bf16(float* p, int64_t n) { HWY_DYNAMIC_DISPATCH(round_values)(p, n); }

namespace {

MicroKernels<float> exact() { return micro_kernels<float>(); }

void gather_rows(const Patches<float>& x, int64_t m0, int64_t m1, int64_t d0, int64_t d1, float* to, int64_t stride) {
  exact().gather_rows(x, m0, m1, d0, d1, to, stride);
  for (int64_t m = m0; m < m1; ++m, to += stride) round_to_bf16(to, d1 - d0);
}

void copy_window(const Patches<float>& x, int64_t n, int64_t p0, int64_t rows, float* to) {
  exact().copy_window(x, n, p0, rows, to);
  round_to_bf16(to, x.window_height(rows) * x.window_width() * x.channels);
}

void pack_columns(const float* dy, int64_t stride, int64_t rows, int64_t columns, float* to) {
  exact().pack_columns(dy, stride, rows, columns, to);
  round_to_bf16(to, rows * columns);
}

void pack_transposed(const float* w, int64_t stride, int64_t columns, int64_t depth, float* to) {
  const MicroKernels<float> kernels = exact();
  kernels.pack_transposed(w, stride, columns, depth, to);
  round_to_bf16(to, depth * kernels.nr);
}

void pack_direct(const float* w, int64_t stride, int64_t columns, int64_t depth, float* to, int64_t panel_stride) {
  const MicroKernels<float> kernels = exact();
  kernels.pack_direct(w, stride, columns, depth, to, panel_stride);
  for (int64_t j = 0; j < columns; j += kernels.nr, to += panel_stride) round_to_bf16(to, depth * kernels.nr);
}

void pack_panels(const float* w, int64_t, int64_t stride, int64_t columns, int64_t depth, float* to, int64_t to_stride,
                 int64_t panel_stride) {
  const MicroKernels<float> kernels = exact();
  kernels.pack_panels(w, 0, stride, columns, depth, to, to_stride, panel_stride);
  for (int64_t j = 0; j < columns; j += kernels.nr, to += panel_stride) {
    for (int64_t d = 0; d < depth; ++d) round_to_bf16(to + d * to_stride, std::min(kernels.nr, columns - j));
  }
}

void pack_planes(const float* x, int64_t, int64_t stride, int64_t pixels, int64_t channels, float* to,
                 int64_t to_stride, int64_t plane_stride) {
  const MicroKernels<float> kernels = exact();
  kernels.pack_planes(x, 0, stride, pixels, channels, to, to_stride, plane_stride);
  for (int64_t t = 0; t < tile_count(channels, kernels.mr); ++t, to += plane_stride) {
    for (int64_t i = 0; i < pixels; ++i) round_to_bf16(to + i * to_stride, kernels.plane_pixel);
  }
}

}  // namespace

void fill_rounded(MicroKernels<float>& kernels) {
  kernels.reads_images = kernels.exact_panels = false;
  kernels.gather_rows = kernels.gather_row_pairs = &gather_rows;
  kernels.copy_window = kernels.copy_window_pairs = &copy_window;
  kernels.pack_columns = &pack_columns;
  kernels.pack_transposed = &pack_transposed;
  kernels.pack_direct = &pack_direct;
  kernels.pack_panels = &pack_panels;
  kernels.pack_planes = &pack_planes;
}

void fill_bf16(MicroKernels<float>& kernels) {
  const bool cells = kernels.has_avx512 && !WithoutBf16Instructions::any() && fill_bf16_cells(kernels);
  if (!cells) fill_rounded(kernels);
}

}  // namespace striate::gemm
#endif  // HWY_ONCE
