// The register tile every matrix product here comes down to: mr × nr values of C stay in registers over the whole
// depth; a step loads one row of the packed panel of B (two vectors) and broadcasts mr values of A. With AVX-512 28 of
// the 32 registers accumulate (14×32): 28 multiply–adds for 16 loads, bound by the multipliers. AVX2: 6×16, 12 of 16
// registers. Deterministic: each element of C is one chain of multiply–adds in ascending depth, wherever its tile
// begins.
#include "kernels/gemm/micro.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/micro.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace striate::gemm::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
constexpr Tag kTag;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(kTag));
constexpr int64_t kColumns = 2 * kLanes;
#if HWY_ARCH_X86 && HWY_TARGET < HWY_AVX3
#error "No tile is tuned for this refinement of AVX-512: disable it in kernels/simd_targets.h"
#elif HWY_TARGET == HWY_AVX3
constexpr int kRows = 14;
#elif HWY_TARGET == HWY_AVX2
constexpr int kRows = 6;
#elif HWY_ARCH_ARM_A64
constexpr int kRows = 12;
#else
constexpr int kRows = 4;
#endif

// ---- vectors that end at the edge: no byte beyond `n` floats is touched ----

HWY_INLINE Vector load_part(const float* p, int64_t n) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(kTag, static_cast<size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(kTag, lanes);
#endif
}

HWY_INLINE void store_part(Vector v, float* p, int64_t n) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  hn::BlendedStore(v, hn::FirstN(kTag, static_cast<size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, kTag, lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

// ---- the tile ----

HWY_INLINE Vector activate(Vector v, Activation activation) {
  const auto negative = hn::Lt(v, hn::Zero(kTag));
  if (activation == Activation::relu) return hn::IfThenZeroElse(negative, v);
  if (activation == Activation::leaky_relu) {
    return hn::IfThenElse(negative, hn::Mul(v, hn::Set(kTag, kLeakySlope)), v);
  }
  return v;
}

/// One half of a row of the tile into C.
HWY_INLINE void finish(Vector v, float* c, int64_t n, const float* bias, const Block& block) {
  if (n >= kLanes) {
    if (bias) v = hn::Add(v, hn::LoadU(kTag, bias));
    hn::StoreU(activate(v, block.activation), kTag, c);
  } else if (n > 0) {
    if (bias) v = hn::Add(v, load_part(bias, n));
    store_part(activate(v, block.activation), c, n);
  }
}

/// The tile into C, by way of memory: one small loop for every size of tile, at about 1% of a tile's time.
HWY_NOINLINE void finish_tile(const float* HWY_RESTRICT tile, int rows, const Block& block, int64_t first) {
  const float* bias_high = block.bias && block.columns > kLanes ? block.bias + kLanes : nullptr;
  for (int i = 0; i < rows; ++i, tile += kColumns) {
    float* c = block.c + block.c_rows[first + i];
    finish(hn::Load(kTag, tile), c, block.columns, block.bias, block);
    finish(hn::Load(kTag, tile + kLanes), c + kLanes, block.columns - kLanes, bias_high, block);
  }
}

/// What the tile adds to: C's values, or zeros.
template <int rows>
HWY_INLINE void load_tile(Vector (&low)[rows], Vector (&high)[rows], const Block& block, int64_t first) {
  if (!block.add) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) low[i] = high[i] = hn::Zero(kTag);
  } else if (block.columns == kColumns) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const float* c = block.c + block.c_rows[first + i];
      low[i] = hn::LoadU(kTag, c);
      high[i] = hn::LoadU(kTag, c + kLanes);
    }
  } else {
    const int64_t n_low = std::min(block.columns, kLanes), n_high = block.columns - n_low;
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const float* c = block.c + block.c_rows[first + i];
      low[i] = load_part(c, n_low);
      high[i] = n_high > 0 ? load_part(c + kLanes, n_high) : hn::Zero(kTag);
    }
  }
}

/// Straight from registers where the tile is whole: by way of memory it takes 100 cycles more.
template <int rows>
HWY_INLINE void store_tile(Vector (&low)[rows], Vector (&high)[rows], const Block& block, int64_t first) {
  if (block.columns == kColumns && block.activation != Activation::leaky_relu) {
    if (block.bias) {
      const Vector bias_low = hn::LoadU(kTag, block.bias), bias_high = hn::LoadU(kTag, block.bias + kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        low[i] = hn::Add(low[i], bias_low);
        high[i] = hn::Add(high[i], bias_high);
      }
    }
    if (block.activation == Activation::relu) {
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        low[i] = activate(low[i], Activation::relu);
        high[i] = activate(high[i], Activation::relu);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      float* c = block.c + block.c_rows[first + i];
      hn::StoreU(low[i], kTag, c);
      hn::StoreU(high[i], kTag, c + kLanes);
    }
    return;
  }
  HWY_ALIGN float tile[rows * kColumns];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    hn::Store(low[i], kTag, tile + i * kColumns);
    hn::Store(high[i], kTag, tile + i * kColumns + kLanes);
  }
  finish_tile(tile, rows, block, first);
}

/// Fetches the tile's part of C while the tile is computed: its rows lie far apart.
template <int rows>
HWY_INLINE void prefetch_tile(const Block& block, int64_t first) {
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    const float* c = block.c + block.c_rows[first + i];
    hwy::Prefetch(c);
    hwy::Prefetch(c + kColumns - 1);
    if (kLanes == 16) hwy::Prefetch(c + kLanes);
  }
}

/// A by rows. Every third row has a pointer, the two after it are reached by one and two strides: 14 rows in six
/// registers, which x86 has.
template <int rows>
HWY_NOINLINE void tile_by_rows(const Block& block, int64_t first) {
  Vector low[rows], high[rows];
  load_tile<rows>(low, high, block, first);
  if (!block.add) prefetch_tile<rows>(block, first);
  const ptrdiff_t stride = block.a_stride;
  const float* HWY_RESTRICT b = block.b;
  for (int64_t g = 0; g < block.segments; ++g) {
    constexpr int kPointers = (rows + 2) / 3;
    const float* HWY_RESTRICT a[kPointers];
#pragma GCC unroll 16
    for (int i = 0; i < kPointers; ++i) a[i] = block.a + g * block.segment_stride + (first + 3 * i) * stride;
    for (int64_t d = 0; d < block.run; ++d, b += kColumns) {
      const Vector b_low = hn::LoadU(kTag, b);
      const Vector b_high = hn::LoadU(kTag, b + kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const Vector v = hn::Set(kTag, a[i / 3][d + (i % 3) * stride]);
        low[i] = hn::MulAdd(v, b_low, low[i]);
        high[i] = hn::MulAdd(v, b_high, high[i]);
      }
    }
  }
  store_tile<rows>(low, high, block, first);
}

/// A by columns: the tile's rows lie side by side for every step of depth.
template <int rows>
HWY_NOINLINE void tile_by_columns(const Block& block, int64_t first) {
  Vector low[rows], high[rows];
  load_tile<rows>(low, high, block, first);
  if (!block.add) prefetch_tile<rows>(block, first);
  const bool packed = block.a_stride == 0;
  const ptrdiff_t stride = packed ? rows : block.a_stride;
  const float* base = block.a + (packed ? first * block.run : first);
  const float* HWY_RESTRICT b = block.b;
  for (int64_t g = 0; g < block.segments; ++g, base += block.segment_stride) {
    const float* HWY_RESTRICT a = base;
    for (int64_t d = 0; d < block.run; ++d, a += stride, b += kColumns) {
      const Vector b_low = hn::LoadU(kTag, b);
      const Vector b_high = hn::LoadU(kTag, b + kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const Vector v = hn::Set(kTag, a[i]);
        low[i] = hn::MulAdd(v, b_low, low[i]);
        high[i] = hn::MulAdd(v, b_high, high[i]);
      }
    }
  }
  store_tile<rows>(low, high, block, first);
}

using TileFunction = void (*)(const Block&, int64_t);

template <int... sizes>
void multiply_tiles(const Block& block, bool by_rows, std::integer_sequence<int, sizes...>) {
  static constexpr TileFunction kByRows[] = {&tile_by_rows<sizes + 1>...};
  static constexpr TileFunction kByColumns[] = {&tile_by_columns<sizes + 1>...};
  const TileFunction* functions = by_rows ? kByRows : kByColumns;
  const int64_t tiles = tile_count(block.rows, kRows);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = tile_begin(t, tiles, block.rows);
    functions[tile_begin(t + 1, tiles, block.rows) - first - 1](block, first);
  }
}

void multiply_rows(const Block& block) { multiply_tiles(block, true, std::make_integer_sequence<int, kRows>()); }
void multiply_columns(const Block& block) { multiply_tiles(block, false, std::make_integer_sequence<int, kRows>()); }

// ---- A and B out of the image ----

/// Writes runs of one row of Patches into a row; a run may spill up to a vector past its end, which the next run or
/// row covers.
struct RowWriter {
  float* to;
  HWY_INLINE void copy(int64_t d, const float* from, int64_t n) {
    float* out = to + d;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) hn::StoreU(hn::LoadU(kTag, from + i), kTag, out + i);
    if (i < n) hn::StoreU(load_part(from + i, n - i), kTag, out + i);
  }
  HWY_INLINE void zero(int64_t d, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes) hn::StoreU(hn::Zero(kTag), kTag, to + d + i);
  }
};

/// Calls the writer for every run of row (n,p,q) that lies in columns [d0,d1). A run is a tap's channels, or a whole
/// row of taps where these are neighbours in the image.
template <class Writer>
HWY_INLINE void gather_row(const Patches& x, const float* image, int64_t h0, int64_t w0, int64_t d0, int64_t d1,
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

template <class Writer>
HWY_INLINE void gather(const Patches& x, int64_t m0, int64_t m1, int64_t d0, int64_t d1, Writer writer,
                       int64_t stride) {
  int64_t q = m0 % x.Q, p = m0 / x.Q % x.P;
  const int64_t image_size = x.H * x.W * x.pixel_stride;
  const float* image = x.image + m0 / x.Q / x.P * image_size;
  for (int64_t m = m0; m < m1; ++m) {
    gather_row(x, image, p * x.step_h + x.origin_h, q * x.step_w + x.origin_w, d0, d1, writer);
    writer.to += stride;
    if (++q == x.Q) {
      q = 0;
      if (++p == x.P) p = 0, image += image_size;
    }
  }
}

void gather_rows(const Patches& x, int64_t m0, int64_t m1, int64_t d0, int64_t d1, float* to, int64_t stride) {
  gather(x, m0, m1, d0, d1, RowWriter{to}, stride);
}

void copy_window(const Patches& x, int64_t n, int64_t p0, int64_t rows, float* to) {
  const int64_t width = x.window_width(), in = std::clamp<int64_t>(-x.origin_w, 0, width);
  const int64_t out = std::clamp<int64_t>(x.W - x.origin_w, in, width);  // pixels [in, out) lie in the image
  for (int64_t i = 0; i < x.window_height(rows); ++i, to += width * x.channels) {
    RowWriter writer{to};
    const int64_t h = p0 * x.step_h + x.origin_h + i;
    if (h < 0 || h >= x.H) {
      writer.zero(0, width * x.channels);
      continue;
    }
    const float* from = x.image + ((n * x.H + h) * x.W + x.origin_w + in) * x.pixel_stride;
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
void pack_columns(const float* dy, int64_t stride, int64_t rows, int64_t columns, float* to) {
  const int64_t tiles = tile_count(columns, kRows);
  for (int64_t m = 0; m < rows; ++m, dy += stride) {
    const bool exact = m + kLanes >= rows;
    int64_t first = 0;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t end = tile_begin(t + 1, tiles, columns), n = end - first;
      float* out = to + first * rows + m * n;
      for (int64_t i = 0; i < n; i += kLanes) {
        const int64_t part = std::min(n - i, kLanes);
        const Vector v =
            first + i + kLanes <= columns ? hn::LoadU(kTag, dy + first + i) : load_part(dy + first + i, part);
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

/// Four rows of w from `from` on, as four columns of the panel at `out`.
HWY_INLINE void transpose_four(const float* from, int64_t stride, int64_t depth, float* out) {
  int64_t d = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> quad;
  const hn::FixedTag<double, 2> pairs;
  for (; d + 4 <= depth; d += 4, from += 4, out += 4 * kColumns) {
    const auto r0 = hn::LoadU(quad, from), r1 = hn::LoadU(quad, from + stride);
    const auto r2 = hn::LoadU(quad, from + 2 * stride), r3 = hn::LoadU(quad, from + 3 * stride);
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
    for (int64_t i = 0; i < 4; ++i) out[i] = from[i * stride];
  }
}

void pack_transposed(const float* w, int64_t stride, int64_t columns, int64_t depth, float* to) {
  int64_t j = 0;
  for (; j + 4 <= columns; j += 4) transpose_four(w + j * stride, stride, depth, to + j);
  for (; j < kColumns; ++j) {
    for (int64_t d = 0; d < depth; ++d) to[d * kColumns + j] = j < columns ? w[j * stride + d] : 0.0f;
  }
}

void pack_direct(const float* w, int64_t stride, int64_t columns, int64_t depth, float* to, int64_t panel_stride) {
  for (int64_t d = 0; d < depth; ++d) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      float* out = to + j / kColumns * panel_stride + d * kColumns + j % kColumns;
      const float* from = w + d * stride + j;
      hn::StoreU(j + kLanes <= columns ? hn::LoadU(kTag, from) : load_part(from, columns - j), kTag, out);
    }
  }
}

void sum_rows(const float* dy, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  int64_t k = 0;
  for (; k + 4 * kLanes <= columns; k += 4 * kLanes) {
    Vector s0 = hn::Zero(kTag), s1 = s0, s2 = s0, s3 = s0;
    const float* from = dy + k;
    for (int64_t m = 0; m < rows; ++m, from += stride) {
      s0 = hn::Add(s0, hn::LoadU(kTag, from));
      s1 = hn::Add(s1, hn::LoadU(kTag, from + kLanes));
      s2 = hn::Add(s2, hn::LoadU(kTag, from + 2 * kLanes));
      s3 = hn::Add(s3, hn::LoadU(kTag, from + 3 * kLanes));
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

void fill(MicroKernels& kernels) {
  kernels.mr = kRows;
  kernels.nr = kColumns;
  kernels.target = hwy::TargetName(HWY_TARGET);
  kernels.multiply_rows = &multiply_rows;
  kernels.multiply_columns = &multiply_columns;
  kernels.gather_rows = &gather_rows;
  kernels.copy_window = &copy_window;
  kernels.pack_columns = &pack_columns;
  kernels.pack_transposed = &pack_transposed;
  kernels.pack_direct = &pack_direct;
  kernels.sum_rows = &sum_rows;
}

}  // namespace striate::gemm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::gemm {

HWY_EXPORT(fill);

MicroKernels micro_kernels() {
  MicroKernels kernels;
  HWY_DYNAMIC_DISPATCH(fill)(kernels);
  return kernels;
}

}  // namespace striate::gemm
#endif  // HWY_ONCE
