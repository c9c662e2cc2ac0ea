// The register tile in bfloat16: 14×32 as in float32, but a cell of A and of B holds two values that follow one another
// in depth, and VDPBF16PS adds both products to a float32 in one instruction: twice the flops for the same loads and
// stores. It takes subnormals for zeros and rounds each of the two additions to nearest even.
// Compiled for AVX-512 BF16 in every build and chosen when the program starts; Highway 1.0 has no such target.
#include "kernels/gemm/micro_bf16.h"

#include <hwy/base.h>

#if HWY_ARCH_X86_64

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/gemm/micro_bf16_target.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

namespace striate::gemm {
namespace {

using namespace bf16;

/// ReLU by slope 0; −∞·0 would be NaN, and NaN is not below 0.
HWY_INLINE __m512 activate(__m512 v, __m512 slope) {
  const __m512 zero = _mm512_setzero_ps();
  const __mmask16 negative = _mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ);
  const __m512 scaled = _mm512_mul_ps(v, slope);
  return _mm512_mask_mov_ps(v, negative, _mm512_mask_mov_ps(scaled, _mm512_cmp_ps_mask(slope, zero, _CMP_EQ_OQ), zero));
}

/// What the tile adds to: C's values, or zeros.
template <int rows, bool wide>
HWY_INLINE void load_tile(__m512 (&low)[rows], __m512 (&high)[rows], const Block& block, int64_t first) {
  if (block.add) {
    const __mmask16 lanes_low = first_lanes(block.columns), lanes_high = first_lanes(block.columns - kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const float* c = block.c + block.c_rows[first + i];
      low[i] = _mm512_maskz_loadu_ps(lanes_low, c);
      if (wide) high[i] = _mm512_maskz_loadu_ps(lanes_high, c + kLanes);
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    low[i] = high[i] = _mm512_setzero_ps();
    // Fetched while the tile is computed: its rows lie far apart.
    if (block.stream) continue;
    if (block.to) {
      const bfloat16* to = block.to + block.to_rows[first + i];
      _mm_prefetch(reinterpret_cast<const char*>(to), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(to + kColumns - 1), _MM_HINT_T0);
      continue;
    }
    const float* c = block.c + block.c_rows[first + i];
    _mm_prefetch(reinterpret_cast<const char*>(c), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(c + kLanes), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(c + kColumns - 1), _MM_HINT_T0);
  }
}

/// Whether all rows of the tile begin with a cache line of C.
template <int rows>
HWY_INLINE bool starts_lines(const Block& block, int64_t first) {
  uintptr_t bits = 0;
  for (int i = 0; i < rows; ++i) bits |= reinterpret_cast<uintptr_t>(block.c + block.c_rows[first + i]);
  return bits % 64 == 0;
}

/// Straight from registers: by way of memory it takes 100 cycles more.
template <int rows, bool wide>
HWY_INLINE void store_tile(__m512 (&low)[rows], __m512 (&high)[rows], const Block& block, int64_t first) {
  const __mmask16 lanes_low = first_lanes(block.columns), lanes_high = first_lanes(block.columns - kLanes);
  if (block.bias) {
    const __m512 bias_low = _mm512_maskz_loadu_ps(lanes_low, block.bias);
    const __m512 bias_high = wide ? _mm512_maskz_loadu_ps(lanes_high, block.bias + kLanes) : bias_low;
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      low[i] = _mm512_add_ps(low[i], bias_low);
      if (wide) high[i] = _mm512_add_ps(high[i], bias_high);
    }
  }
  if (block.activation != Activation::none) {
    const __m512 slope = _mm512_set1_ps(block.activation == Activation::leaky_relu ? kLeakySlope : 0.0f);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      low[i] = activate(low[i], slope);
      if (wide) high[i] = activate(high[i], slope);
    }
  }
  if (block.to) {
    const __mmask32 lanes = _cvtu32_mask32(lanes_low | static_cast<uint32_t>(wide ? lanes_high : 0) << kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const __m512i values = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(wide ? high[i] : low[i], low[i]));
      _mm512_mask_storeu_epi16(block.to + block.to_rows[first + i], lanes, values);
    }
    return;
  }
  if (wide && block.stream && !block.add && block.columns == kColumns && starts_lines<rows>(block, first)) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      float* c = block.c + block.c_rows[first + i];
      _mm512_stream_ps(c, low[i]);
      _mm512_stream_ps(c + kLanes, high[i]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    float* c = block.c + block.c_rows[first + i];
    _mm512_mask_storeu_ps(c, lanes_low, low[i]);
    if (wide) _mm512_mask_storeu_ps(c + kLanes, lanes_high, high[i]);
  }
}

HWY_INLINE __m512bh load_cells(const float* p) { return reinterpret_cast<__m512bh>(_mm512_loadu_ps(p)); }
/// The cell may lie in an image of bfloat16.
HWY_INLINE __m512bh broadcast_cell(const float* p) {
  using Cell [[gnu::may_alias]] = float;
  return reinterpret_cast<__m512bh>(_mm512_set1_ps(*static_cast<const Cell*>(p)));
}

/// A by rows. Every third row has a pointer, the two after it are reached by one and two strides. Not
/// `wide`: one vector of columns, for panels that hold no more.
template <int rows, bool wide>
HWY_NOINLINE void tile_by_rows(const Block& block, int64_t first) {
  __m512 low[rows], high[rows];
  load_tile<rows, wide>(low, high, block, first);
  const ptrdiff_t stride = block.a_stride;
  const float* HWY_RESTRICT b = block.b;
  for (int64_t g = 0; g < block.segments; ++g) {
    constexpr int kPointers = (rows + 2) / 3;
    const float* HWY_RESTRICT a[kPointers];
#pragma GCC unroll 16
    for (int i = 0; i < kPointers; ++i) a[i] = block.a + g * block.segment_stride + (first + 3 * i) * stride;
    for (int64_t d = 0; d < block.run; ++d, b += kColumns) {
      const __m512bh b_low = load_cells(b), b_high = wide ? load_cells(b + kLanes) : b_low;
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const __m512bh v = broadcast_cell(a[i / 3] + d + (i % 3) * stride);
        low[i] = _mm512_dpbf16_ps(low[i], b_low, v);
        if (wide) high[i] = _mm512_dpbf16_ps(high[i], b_high, v);
      }
    }
  }
  store_tile<rows, wide>(low, high, block, first);
}

/// A by columns: the tile's rows lie side by side for every step of depth.
template <int rows, bool wide>
HWY_NOINLINE void tile_by_columns(const Block& block, int64_t first) {
  __m512 low[rows], high[rows];
  load_tile<rows, wide>(low, high, block, first);
  const bool packed = block.a_stride == 0;
  const ptrdiff_t stride = packed ? rows : block.a_stride;
  const float* base = block.a + (packed ? first * block.run : first);
  const float* HWY_RESTRICT b = block.b;
  for (int64_t g = 0; g < block.segments; ++g, base += block.segment_stride, b += block.b_skip) {
    const float* HWY_RESTRICT a = base;
    for (int64_t d = 0; d < block.run; ++d, a += stride, b += kColumns) {
      const __m512bh b_low = load_cells(b), b_high = wide ? load_cells(b + kLanes) : b_low;
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const __m512bh v = broadcast_cell(a + i);
        low[i] = _mm512_dpbf16_ps(low[i], b_low, v);
        if (wide) high[i] = _mm512_dpbf16_ps(high[i], b_high, v);
      }
    }
  }
  store_tile<rows, wide>(low, high, block, first);
}

template <int... sizes>
void by_rows(const Block& block, std::integer_sequence<int, sizes...>) {
  static constexpr TileFunction kWide[] = {&tile_by_rows<sizes + 1, true>...};
  static constexpr TileFunction kNarrow[] = {&tile_by_rows<sizes + 1, false>...};
  run_tiles(block, kRows, block.columns > kLanes ? kWide : kNarrow);
}

template <int... sizes>
void by_columns(const Block& block, std::integer_sequence<int, sizes...>) {
  static constexpr TileFunction kWide[] = {&tile_by_columns<sizes + 1, true>...};
  static constexpr TileFunction kNarrow[] = {&tile_by_columns<sizes + 1, false>...};
  run_tiles(block, kRows, block.columns > kLanes ? kWide : kNarrow);
}

void multiply_rows(const Block& block) { by_rows(block, std::make_integer_sequence<int, kRows>()); }
void multiply_columns(const Block& block) {
  by_columns(block, std::make_integer_sequence<int, kRows>());
  if (block.stream) _mm_sfence();
}

}  // namespace

bool fill_bf16_cells(MicroKernels<bfloat16>& kernels) {
  if (!__builtin_cpu_supports("avx512bf16")) return false;
  kernels.mr = kRows;
  kernels.nr = kColumns;
  kernels.plane_pixel = kLanes;
  kernels.cell = 2;
  kernels.reads_images = true;
  kernels.exact_panels = false;
  kernels.target = "AVX-512 BF16";
  kernels.multiply_rows = &multiply_rows;
  kernels.multiply_columns = &multiply_columns;
  add_bf16_copy_kernels(kernels);
  return true;
}

}  // namespace striate::gemm

HWY_POP_ATTRIBUTES

#else  // not x86-64

namespace striate::gemm {
bool fill_bf16_cells(MicroKernels<bfloat16>&) { return false; }
}  // namespace striate::gemm

#endif
