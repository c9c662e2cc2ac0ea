// Everything that fills the cells of bfloat16 (micro_bf16.cpp): rows, windows and planes out of images, panels out of
// matrices.
#include "kernels/gemm/micro_bf16.h"

#include <hwy/base.h>

#if HWY_ARCH_X86_64

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/gemm/micro_bf16_target.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

namespace striate::gemm {
namespace {

using namespace bf16;

/// The first n of 32 values in order.
HWY_INLINE __m512i values_at(const bfloat16* p, int64_t n) {
  return _mm512_maskz_loadu_epi16(n >= kColumns ? 0xFFFFFFFFu : (1u << n) - 1u, p);
}

/// 16 cells: values of `low` beside those of `high`, which are zeros where that is null.
HWY_INLINE __m512i cells_at(const bfloat16* low, const bfloat16* high, __mmask16 lanes) {
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, low));
  if (!high) return words;
  return _mm512_or_si512(words, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, high)), 16));
}

/// n values; may write up to 32 values past them: zeros.
HWY_INLINE void write_values(const bfloat16* from, int64_t n, uint16_t* to) {
  for (int64_t i = 0; i < n; i += kColumns) _mm512_storeu_si512(to + i, values_at(from + i, n - i));
}

HWY_INLINE void write_zeros(int64_t n, uint16_t* to) {
  for (int64_t i = 0; i < n; i += kColumns) _mm512_storeu_si512(to + i, _mm512_setzero_si512());
}

/// n cells of n values each; no second ones: zeros. May write up to 16 cells past them.
HWY_INLINE void write_pairs(const bfloat16* first, const bfloat16* second, int64_t n, float* to) {
  for (int64_t i = 0; i < n; i += kLanes) {
    _mm512_storeu_si512(to + i, cells_at(first + i, second ? second + i : nullptr, first_lanes(n - i)));
  }
}

// ---- A out of the image ----

/// Calls fn(d, from, n) for the runs of columns [d0, d1) of the row of Patches whose first pixel is (h0, w0): values
/// d … d + n − 1, counted from d0, lie at `from`, or are zeros where that is null. A tap has `pitch` ≥ channels
/// columns.
template <class Fn>
HWY_INLINE void for_each_run(const Patches<bfloat16>& x, const bfloat16* image, int64_t h0, int64_t w0, int64_t d0,
                             int64_t d1, int64_t pitch, const Fn& fn) {
  constexpr const bfloat16* kNone = nullptr;
  const bool merged = x.tap_w == 1 && x.channels == x.pixel_stride && x.channels == pitch;
  const int64_t taps = merged ? x.S : 1, length = taps * pitch, across = x.S / taps;
  const int64_t row_length = x.W * x.pixel_stride;
  int64_t begin = d0 / length * length;
  int64_t r = d0 / length / across, s = d0 / length % across;
  for (; begin < d1; begin += length) {
    const int64_t lo = std::max<int64_t>(d0 - begin, 0), hi = std::min(d1 - begin, length);
    const int64_t real = std::clamp(taps * x.channels, lo, hi);  // beyond it the tap's padding
    const int64_t h = h0 + r * x.tap_h, start = (w0 + s * x.tap_w) * x.pixel_stride;
    const bool outside = h < 0 || h >= x.H;
    const int64_t in = outside ? hi : std::clamp(-start, lo, real);
    const int64_t out = outside ? hi : std::clamp(row_length - start, in, real);
    if (in > lo) fn(begin + lo - d0, kNone, in - lo);
    if (out > in) fn(begin + in - d0, image + (h * row_length + start + in), out - in);
    if (hi > out) fn(begin + out - d0, kNone, hi - out);
    if (++s == across) s = 0, ++r;
  }
}

/// The rows of Patches one after another, of every image or of every second one.
struct RowWalk {
  const Patches<bfloat16>& x;
  int64_t images, n, p, q, image_size;
  RowWalk(const Patches<bfloat16>& patches, int64_t m, int64_t images_together)
      : x(patches),
        images(images_together),
        n(m / x.Q / x.P * images),
        p(m / x.Q % x.P),
        q(m % x.Q),
        image_size(x.H * x.W * x.pixel_stride) {}
  const bfloat16* image() const { return x.image + n * image_size; }
  /// Values to the second image, 0 where there is none.
  int64_t pair() const { return n + 1 < x.N ? image_size : 0; }
  int64_t h() const { return p * x.step_h + x.origin_h; }
  int64_t w() const { return q * x.step_w + x.origin_w; }
  void next() {
    if (++q < x.Q) return;
    q = 0;
    if (++p < x.P) return;
    p = 0;
    n += images;
  }
};

void gather_rows(const Patches<bfloat16>& x, int64_t m0, int64_t m1, int64_t d0, int64_t d1, float* to,
                 int64_t stride) {
  const int64_t pitch = x.channels + x.channels % 2;
  RowWalk row(x, m0, 1);
  for (int64_t m = m0; m < m1; ++m, row.next(), to += stride) {
    auto* values = reinterpret_cast<uint16_t*>(to);
    for_each_run(x, row.image(), row.h(), row.w(), 2 * d0, 2 * d1, pitch,
                 [&](int64_t d, const bfloat16* from, int64_t n) {
                   if (from) {
                     write_values(from, n, values + d);
                   } else {
                     write_zeros(n, values + d);
                   }
                 });
  }
}

void gather_row_pairs(const Patches<bfloat16>& x, int64_t m0, int64_t m1, int64_t d0, int64_t d1, float* to,
                      int64_t stride) {
  RowWalk row(x, m0, 2);
  for (int64_t m = m0; m < m1; ++m, row.next(), to += stride) {
    const int64_t pair = row.pair();
    for_each_run(x, row.image(), row.h(), row.w(), d0, d1, x.channels, [&](int64_t d, const bfloat16* from, int64_t n) {
      if (from) {
        write_pairs(from, pair > 0 ? from + pair : nullptr, n, to + d);
      } else {
        write_zeros(2 * n, reinterpret_cast<uint16_t*>(to + d));
      }
    });
  }
}

/// A row of a window: pixels [in, out) of it lie in the image, at `from`, which is null where none do.
struct WindowRow {
  int64_t in, out;
  const bfloat16* from = nullptr;
  WindowRow(const Patches<bfloat16>& x, int64_t n, int64_t h)
      : in(std::clamp<int64_t>(-x.origin_w, 0, x.window_width())),
        out(std::clamp<int64_t>(x.W - x.origin_w, in, x.window_width())) {
    if (h >= 0 && h < x.H && in < out) from = x.image + ((n * x.H + h) * x.W + x.origin_w + in) * x.pixel_stride;
  }
};

void copy_window(const Patches<bfloat16>& x, int64_t n, int64_t p0, int64_t rows, float* to) {
  const bool whole = x.channels == x.pixel_stride && (x.channels % 2 == 0 || rows_of_taps_merge(x));
  const int64_t pitch = whole ? x.channels : x.channels + x.channels % 2;
  const int64_t width = x.window_width(), row_length = (width * pitch + 1) / 2 * 2;
  auto* values = reinterpret_cast<uint16_t*>(to);
  for (int64_t i = 0; i < x.window_height(rows); ++i, values += row_length) {
    const WindowRow row(x, n, p0 * x.step_h + x.origin_h + i);
    if (!row.from) {
      write_zeros(row_length, values);
      continue;
    }
    write_zeros(row.in * pitch, values);
    if (whole) {
      write_values(row.from, (row.out - row.in) * pitch, values + row.in * pitch);
    } else {
      const bfloat16* from = row.from;
      for (int64_t v = row.in; v < row.out; ++v, from += x.pixel_stride) {
        write_values(from, x.channels, values + v * pitch);
      }
    }
    write_zeros(row_length - row.out * pitch, values + row.out * pitch);
  }
}

void copy_window_pairs(const Patches<bfloat16>& x, int64_t n, int64_t p0, int64_t rows, float* to) {
  const int64_t width = x.window_width(), channels = x.channels;
  const int64_t pair = 2 * n + 1 < x.N ? x.H * x.W * x.pixel_stride : 0;
  const auto write = [&](const bfloat16* from, int64_t count, float* out) {
    write_pairs(from, pair > 0 ? from + pair : nullptr, count, out);
  };
  for (int64_t i = 0; i < x.window_height(rows); ++i, to += width * channels) {
    const WindowRow row(x, 2 * n, p0 * x.step_h + x.origin_h + i);
    const auto zeros = [&](int64_t begin, int64_t end) {
      write_zeros(2 * (end - begin) * channels, reinterpret_cast<uint16_t*>(to + begin * channels));
    };
    if (!row.from) {
      zeros(0, width);
      continue;
    }
    zeros(0, row.in);
    if (channels == x.pixel_stride) {
      write(row.from, (row.out - row.in) * channels, to + row.in * channels);
    } else {
      for (int64_t v = row.in; v < row.out; ++v) {
        write(row.from + (v - row.in) * x.pixel_stride, channels, to + v * channels);
      }
    }
    zeros(row.out, width);
  }
}

// ---- packing ----

void pack_columns(const bfloat16* dy, int64_t stride, int64_t rows, int64_t columns, float* to) {
  const int64_t tiles = tile_count(columns, kRows), steps = (rows + 1) / 2;
  for (int64_t m = 0; m < steps; ++m, dy += 2 * stride) {
    const bool both = 2 * m + 1 < rows;
    for (int64_t t = 0, first = 0; t < tiles; ++t) {
      const int64_t end = tile_begin(t + 1, tiles, columns), n = end - first;
      const __mmask16 lanes = first_lanes(n);
      _mm512_mask_storeu_epi32(to + first * steps + m * n, lanes,
                               cells_at(dy + first, both ? dy + stride + first : nullptr, lanes));
      first = end;
    }
  }
}

/// 16 vectors as the columns of a 16×16 matrix of cells become its rows.
HWY_INLINE void transpose(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // v[4·g + i], quarter j: rows 4·g … 4·g + 3 of column 4·j + i.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i even_low = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xDD);
    const __m512i even_high = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xDD);
    v[i] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    v[4 + i] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    v[8 + i] = _mm512_shuffle_i32x4(even_low, even_high, 0xDD);
    v[12 + i] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xDD);
  }
}

void pack_transposed(const bfloat16* w, int64_t stride, int64_t columns, int64_t depth, float* to) {
  for (int64_t d = 0; d < depth; d += kColumns) {
    const int64_t steps = std::min<int64_t>(kLanes, (depth - d + 1) / 2);
    for (int64_t j = 0; j < kColumns; j += kLanes) {
      const bfloat16* from = w + j * stride + d;
      __m512i v[16];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; ++i, from += stride) {
        v[i] = j + i < columns ? values_at(from, depth - d) : _mm512_setzero_si512();
      }
      transpose(v);
      float* const out = to + d / 2 * kColumns + j;
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; ++i) {
        if (i < steps) _mm512_storeu_si512(out + i * kColumns, v[i]);
      }
    }
  }
}

constexpr int64_t kRowsAhead = 8;  // rows of w lie far apart: a linear layer gains 20%

void pack_direct(const bfloat16* w, int64_t stride, int64_t columns, int64_t depth, float* to, int64_t panel_stride) {
  for (int64_t d = 0; d < depth; d += 2) {
    const bfloat16* from = w + d * stride;
    for (int64_t j = 0; j < columns; j += kLanes) {
      _mm_prefetch(reinterpret_cast<const char*>(from + kRowsAhead * stride + j), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(from + (kRowsAhead + 1) * stride + j), _MM_HINT_T0);
      const __mmask16 lanes = first_lanes(columns - j);
      float* out = to + j / kColumns * panel_stride + d / 2 * kColumns + j % kColumns;
      _mm512_storeu_si512(out, cells_at(from + j, d + 1 < depth ? from + stride + j : nullptr, lanes));
    }
  }
}

void pack_panels(const bfloat16* w, int64_t pair, int64_t stride, int64_t columns, int64_t depth, float* to,
                 int64_t to_stride, int64_t panel_stride) {
  for (int64_t d = 0; d < depth; ++d, w += stride, to += to_stride) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      const __mmask16 lanes = first_lanes(columns - j);
      _mm512_storeu_si512(to + j / kColumns * panel_stride + j % kColumns,
                          cells_at(w + j, pair > 0 ? w + pair + j : nullptr, lanes));
    }
  }
}

void pack_planes(const bfloat16* x, int64_t pair, int64_t stride, int64_t pixels, int64_t channels, float* to,
                 int64_t to_stride, int64_t plane_stride) {
  const int64_t tiles = tile_count(channels, kRows);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = tile_begin(t, tiles, channels);
    const __mmask16 lanes = first_lanes(channels - first);
    const bfloat16* from = x + first;
    float* out = to + t * plane_stride;
    for (int64_t p = 0; p < pixels; ++p, from += stride, out += to_stride) {
      _mm512_storeu_si512(out, cells_at(from, pair > 0 ? from + pair : nullptr, lanes));
    }
  }
}

}  // namespace

void add_bf16_copy_kernels(MicroKernels<bfloat16>& kernels) {
  kernels.gather_rows = &gather_rows;
  kernels.gather_row_pairs = &gather_row_pairs;
  kernels.copy_window = &copy_window;
  kernels.copy_window_pairs = &copy_window_pairs;
  kernels.pack_columns = &pack_columns;
  kernels.pack_transposed = &pack_transposed;
  kernels.pack_direct = &pack_direct;
  kernels.pack_panels = &pack_panels;
  kernels.pack_planes = &pack_planes;
}

}  // namespace striate::gemm

HWY_POP_ATTRIBUTES

#endif
