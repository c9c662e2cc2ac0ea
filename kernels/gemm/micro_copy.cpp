// What brings A and B into the places where the register tile reads them: rows, windows and planes out of images,
// panels out of matrices.
#include <algorithm>
#include <cstddef>

#include "kernels/gemm/micro.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/micro_copy.cpp"
#include "kernels/simd.h"

#include "kernels/gemm/micro_target.h"

HWY_BEFORE_NAMESPACE();
namespace striate::gemm::HWY_NAMESPACE {

/// Floats, and bfloat16 that become floats on their way.
template <typename T>
HWY_INLINE Vector load(const T* p) {
  return cpu::HWY_NAMESPACE::WholeVector().load(p);
}
HWY_INLINE Vector load_part(const bfloat16* p, int64_t n) {
  return cpu::HWY_NAMESPACE::PartOfVector{static_cast<size_t>(std::min(n, kLanes))}.load(p);
}
HWY_INLINE float value_of(float v) { return v; }
HWY_INLINE float value_of(bfloat16 v) { return to_float(v); }

/// Writes runs of one row of Patches into a row; a run may spill up to a vector past its end, which the next run or
/// row covers.
struct RowWriter {
  float* to;
  template <typename T>
  HWY_INLINE void copy(int64_t d, const T* from, int64_t n) {
    float* out = to + d;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) hn::StoreU(load(from + i), kTag, out + i);
    if (i < n) hn::StoreU(load_part(from + i, n - i), kTag, out + i);
  }
  HWY_INLINE void zero(int64_t d, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes) hn::StoreU(hn::Zero(kTag), kTag, to + d + i);
  }
};

/// Calls the writer for every run of row (n,p,q) that lies in columns [d0,d1). A run is a tap's channels, or a whole
/// row of taps where these are neighbours in the image.
template <typename T, class Writer>
HWY_INLINE void gather_row(const Patches<T>& x, const T* image, int64_t h0, int64_t w0, int64_t d0, int64_t d1,
                           Writer& writer) {
  const int64_t merged = x.tap_w == 1 && x.channels == x.pixel_stride ? x.S : 1;
  const int64_t length = merged * x.channels, across = x.S / merged;
  const int64_t row_length = x.W * x.pixel_stride;
  int64_t begin = d0 / length * length;
  int64_t r = d0 / length / across, s = d0 / length % across;
  for (; begin < d1; begin += length) {
    const int64_t lo = std::max<int64_t>(d0 - begin, 0), hi = std::min(d1 - begin, length);  // the part of the run
    const int64_t h = h0 + r * x.tap_h;
    if (h < 0 || h >= x.H) {
      writer.zero(begin + lo - d0, hi - lo);
    } else {
      const int64_t start = (w0 + s * x.tap_w) * x.pixel_stride;  // of the run, within the image's row
      const int64_t in = std::clamp(-start, lo, hi), out = std::clamp(row_length - start, in, hi);
      if (in > lo) writer.zero(begin + lo - d0, in - lo);
      if (out > in) writer.copy(begin + in - d0, image + (h * row_length + start + in), out - in);
      if (hi > out) writer.zero(begin + out - d0, hi - out);
    }
    if (++s == across) s = 0, ++r;
  }
}

template <typename T, class Writer>
HWY_INLINE void gather(const Patches<T>& x, int64_t m0, int64_t m1, int64_t d0, int64_t d1, Writer writer,
                       int64_t stride) {
  int64_t q = m0 % x.Q, p = m0 / x.Q % x.P;
  const int64_t image_size = x.H * x.W * x.pixel_stride;
  const T* image = x.image + m0 / x.Q / x.P * image_size;
  for (int64_t m = m0; m < m1; ++m) {
    gather_row(x, image, p * x.step_h + x.origin_h, q * x.step_w + x.origin_w, d0, d1, writer);
    writer.to += stride;
    if (++q == x.Q) {
      q = 0;
      if (++p == x.P) p = 0, image += image_size;
    }
  }
}

template <typename T>
void gather_rows(const Patches<T>& x, int64_t m0, int64_t m1, int64_t d0, int64_t d1, float* to, int64_t stride) {
  gather(x, m0, m1, d0, d1, RowWriter{to}, stride);
}

template <typename T>
void copy_window(const Patches<T>& x, int64_t n, int64_t p0, int64_t rows, float* to) {
  const int64_t width = x.window_width(), in = std::clamp<int64_t>(-x.origin_w, 0, width);
  const int64_t out = std::clamp<int64_t>(x.W - x.origin_w, in, width);  // pixels [in, out) lie in the image
  for (int64_t i = 0; i < x.window_height(rows); ++i, to += width * x.channels) {
    RowWriter writer{to};
    const int64_t h = p0 * x.step_h + x.origin_h + i;
    if (h < 0 || h >= x.H) {
      writer.zero(0, width * x.channels);
      continue;
    }
    const T* from = x.image + ((n * x.H + h) * x.W + x.origin_w + in) * x.pixel_stride;
    writer.zero(0, in * x.channels);
    if (x.channels == x.pixel_stride) {
      writer.copy(in * x.channels, from, (out - in) * x.channels);
    } else {
      for (int64_t v = in; v < out; ++v, from += x.pixel_stride) writer.copy(v * x.channels, from, x.channels);
    }
    writer.zero(out * x.channels, (width - out) * x.channels);
  }
}

// ---- packing ----

/// Row by row as dy lies in memory; a tile's row spills into its next row, the last rows are written exactly.
template <typename T>
void pack_columns(const T* dy, int64_t stride, int64_t rows, int64_t columns, float* to) {
  const int64_t tiles = tile_count(columns, kRows);
  for (int64_t m = 0; m < rows; ++m, dy += stride) {
    const bool exact = m + kLanes >= rows;
    int64_t first = 0;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t end = tile_begin(t + 1, tiles, columns), n = end - first;
      float* out = to + first * rows + m * n;
      for (int64_t i = 0; i < n; i += kLanes) {
        const int64_t part = std::min(n - i, kLanes);
        const Vector v = first + i + kLanes <= columns ? load(dy + first + i) : load_part(dy + first + i, part);
        if (exact) {
          store_part(v, out + i, part);
        } else {
          hn::StoreU(v, kTag, out + i);
        }
      }
      first = end;
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> load_four(const float* p) { return hn::LoadU(hn::FixedTag<float, 4>(), p); }
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> load_four(const bfloat16* p) {
  const auto bits = hn::LoadU(hn::FixedTag<uint16_t, 4>(), cpu::HWY_NAMESPACE::bits_of(p));
  return hn::BitCast(hn::FixedTag<float, 4>(), hn::ShiftLeft<16>(hn::PromoteTo(hn::FixedTag<uint32_t, 4>(), bits)));
}
#endif

/// Four rows of w from `from` on, as four columns of the panel at `out`.
template <typename T>
HWY_INLINE void transpose_four(const T* from, int64_t stride, int64_t depth, float* out) {
  int64_t d = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> quad;
  const hn::FixedTag<double, 2> pairs;
  for (; d + 4 <= depth; d += 4, from += 4, out += 4 * kColumns) {
    const auto r0 = load_four(from), r1 = load_four(from + stride);
    const auto r2 = load_four(from + 2 * stride), r3 = load_four(from + 3 * stride);
    const auto a = hn::BitCast(pairs, hn::InterleaveLower(quad, r0, r1));
    const auto b = hn::BitCast(pairs, hn::InterleaveLower(quad, r2, r3));
    const auto c = hn::BitCast(pairs, hn::InterleaveUpper(quad, r0, r1));
    const auto e = hn::BitCast(pairs, hn::InterleaveUpper(quad, r2, r3));
    hn::StoreU(hn::BitCast(quad, hn::InterleaveLower(pairs, a, b)), quad, out);
    hn::StoreU(hn::BitCast(quad, hn::InterleaveUpper(pairs, a, b)), quad, out + kColumns);
    hn::StoreU(hn::BitCast(quad, hn::InterleaveLower(pairs, c, e)), quad, out + 2 * kColumns);
    hn::StoreU(hn::BitCast(quad, hn::InterleaveUpper(pairs, c, e)), quad, out + 3 * kColumns);
  }
#endif
  for (; d < depth; ++d, ++from, out += kColumns) {
    for (int64_t i = 0; i < 4; ++i) out[i] = value_of(from[i * stride]);
  }
}

/// A few steps of depth at a time: their part of the panel, 16 KB, stays in L1 while its columns come in.
template <typename T>
void pack_transposed(const T* w, int64_t stride, int64_t columns, int64_t depth, float* to) {
  constexpr int64_t kSteps = 4096 / kColumns;
  for (int64_t d0 = 0; d0 < depth; d0 += kSteps, w += kSteps, to += kSteps * kColumns) {
    const int64_t steps = std::min(kSteps, depth - d0);
    int64_t j = 0;
    for (; j + 4 <= columns; j += 4) transpose_four(w + j * stride, stride, steps, to + j);
    for (; j < kColumns; ++j) {
      for (int64_t d = 0; d < steps; ++d) to[d * kColumns + j] = j < columns ? value_of(w[j * stride + d]) : 0.0f;
    }
  }
}

template <typename T>
void pack_direct(const T* w, int64_t stride, int64_t columns, int64_t depth, float* to, int64_t panel_stride) {
  for (int64_t d = 0; d < depth; ++d) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      float* out = to + j / kColumns * panel_stride + d * kColumns + j % kColumns;
      const T* from = w + d * stride + j;
      hn::StoreU(j + kLanes <= columns ? load(from) : load_part(from, columns - j), kTag, out);
    }
  }
}

template <typename T>
void pack_panels(const T* w, int64_t, int64_t stride, int64_t columns, int64_t depth, float* to, int64_t to_stride,
                 int64_t panel_stride) {
  for (int64_t d = 0; d < depth; ++d, w += stride, to += to_stride) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      float* out = to + j / kColumns * panel_stride + j % kColumns;
      hn::StoreU(j + kLanes <= columns ? load(w + j) : load_part(w + j, columns - j), kTag, out);
    }
  }
}

template <typename T>
void pack_planes(const T* x, int64_t, int64_t stride, int64_t pixels, int64_t channels, float* to, int64_t to_stride,
                 int64_t plane_stride) {
  const int64_t tiles = tile_count(channels, kRows);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = tile_begin(t, tiles, channels);
    for (int64_t i = 0; i < kPlanePixel; i += kLanes) {
      const T* from = x + first + i;
      float* out = to + t * plane_stride + i;
      if (first + i + kLanes <= channels) {
        for (int64_t p = 0; p < pixels; ++p) hn::StoreU(load(from + p * stride), kTag, out + p * to_stride);
      } else {
        const int64_t part = std::max<int64_t>(channels - first - i, 0);
        for (int64_t p = 0; p < pixels; ++p) {
          hn::StoreU(load_part(from + p * stride, part), kTag, out + p * to_stride);
        }
      }
    }
  }
}

void add_columns(const float* panel, int64_t depth, int64_t columns, double* sums) {
  Vector low = hn::Zero(kTag), high = low;
  for (int64_t d = 0; d < depth; ++d, panel += kColumns) {
    low = hn::Add(low, hn::LoadU(kTag, panel));
    high = hn::Add(high, hn::LoadU(kTag, panel + kLanes));
  }
  HWY_ALIGN float total[kColumns];
  hn::Store(low, kTag, total);
  hn::Store(high, kTag, total + kLanes);
  for (int64_t j = 0; j < columns; ++j) sums[j] += double{total[j]};
}

template <typename T>
void sum_rows(const T* dy, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  int64_t k = 0;
  for (; k + 4 * kLanes <= columns; k += 4 * kLanes) {
    Vector s0 = hn::Zero(kTag), s1 = s0, s2 = s0, s3 = s0;
    const T* from = dy + k;
    for (int64_t m = 0; m < rows; ++m, from += stride) {
      s0 = hn::Add(s0, load(from));
      s1 = hn::Add(s1, load(from + kLanes));
      s2 = hn::Add(s2, load(from + 2 * kLanes));
      s3 = hn::Add(s3, load(from + 3 * kLanes));
    }
    hn::StoreU(s0, kTag, sums + k);
    hn::StoreU(s1, kTag, sums + k + kLanes);
    hn::StoreU(s2, kTag, sums + k + 2 * kLanes);
    hn::StoreU(s3, kTag, sums + k + 3 * kLanes);
  }
  for (; k < columns; k += kLanes) {
    const int64_t part = std::min(kLanes, columns - k);
    Vector s = hn::Zero(kTag);
    for (int64_t m = 0; m < rows; ++m) s = hn::Add(s, load_part(dy + m * stride + k, part));
    store_part(s, sums + k, part);
  }
}

template <typename T>
void fill_copies(MicroKernels<T>& kernels) {
  kernels.gather_rows = kernels.gather_row_pairs = &gather_rows<T>;
  kernels.copy_window = kernels.copy_window_pairs = &copy_window<T>;
  kernels.pack_columns = &pack_columns<T>;
  kernels.pack_transposed = &pack_transposed<T>;
  kernels.pack_direct = &pack_direct<T>;
  kernels.pack_panels = &pack_panels<T>;
  kernels.pack_planes = &pack_planes<T>;
  kernels.add_columns = &add_columns;
  kernels.sum_rows = &sum_rows<T>;
}
void fill_copies_of_floats(MicroKernels<float>& kernels) { fill_copies(kernels); }
void fill_copies_of_bfloat16(MicroKernels<bfloat16>& kernels) { fill_copies(kernels); }

}  // namespace striate::gemm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::gemm {

HWY_EXPORT(fill_copies_of_floats);
HWY_EXPORT(fill_copies_of_bfloat16);

void add_copy_kernels(MicroKernels<float>& kernels) { HWY_DYNAMIC_DISPATCH(fill_copies_of_floats)(kernels); }
void add_copy_kernels(MicroKernels<bfloat16>& kernels) { HWY_DYNAMIC_DISPATCH(fill_copies_of_bfloat16)(kernels); }

}  // namespace striate::gemm
#endif  // HWY_ONCE
