// The register tile of a linear layer's forward on bfloat16 weights as they lie: cells of two values that follow one
// another in a row, multiplied by VDPBF16PS as in kernels/gemm/micro_bf16.cpp, ten rows at a time for the reason that
// tiles.cpp gives.
#include <hwy/base.h>

#include "kernels/linear/tiles.h"

#if HWY_ARCH_X86_64

#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "kernels/gemm/micro_bf16_target.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

namespace striate::cpu {
namespace {

using gemm::bf16::kColumns;
using gemm::bf16::kLanes;
constexpr int kInPlaceRows = 10;

HWY_INLINE __m512bh load_cells(const float* p) { return reinterpret_cast<__m512bh>(_mm512_loadu_ps(p)); }
HWY_INLINE __m512bh broadcast_cell(const float* p) {
  using Cell [[gnu::may_alias]] = float;
  return reinterpret_cast<__m512bh>(_mm512_set1_ps(*static_cast<const Cell*>(p)));
}

template <int rows>
HWY_NOINLINE void tile(const RowsInPlace& o, int64_t first, const float* HWY_RESTRICT x, float* c, bool fetch) {
  constexpr int64_t kAhead = 128, kStep = 16;
  __m512 low[rows], high[rows];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    low[i] = o.add ? _mm512_loadu_ps(c + i * kColumns) : _mm512_setzero_ps();
    high[i] = o.add ? _mm512_loadu_ps(c + i * kColumns + kLanes) : _mm512_setzero_ps();
  }
  const float* HWY_RESTRICT w = o.w + first * o.stride;
  const int64_t stride = o.stride;
  for (int64_t d = 0; d < o.run; d += kStep, w += kStep) {
    if (fetch) {
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        _mm_prefetch(reinterpret_cast<const char*>(w + i * stride + kAhead), _MM_HINT_T0);
      }
    }
    const int64_t steps = std::min(kStep, o.run - d);
    for (int64_t s = 0; s < steps; ++s, x += kColumns) {
      const __m512bh x_low = load_cells(x), x_high = load_cells(x + kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const __m512bh v = broadcast_cell(w + i * stride + s);
        low[i] = _mm512_dpbf16_ps(low[i], x_low, v);
        high[i] = _mm512_dpbf16_ps(high[i], x_high, v);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    _mm512_storeu_ps(c + i * kColumns, low[i]);
    _mm512_storeu_ps(c + i * kColumns + kLanes, high[i]);
  }
}

using Tile = void (*)(const RowsInPlace&, int64_t, const float*, float*, bool);

template <int... sizes>
void run(const RowsInPlace& o, std::integer_sequence<int, sizes...>) {
  static constexpr Tile kTiles[] = {&tile<sizes + 1>...};
  const int64_t tiles = (o.rows + kInPlaceRows - 1) / kInPlaceRows;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = o.rows * t / tiles, rows = o.rows * (t + 1) / tiles - first;
    for (int64_t panel = 0; panel < o.panels; ++panel) {
      kTiles[rows - 1](o, first, o.x + panel * o.panel_stride, o.c + (panel * o.rows + first) * kColumns, panel == 0);
    }
  }
}

void rows_in_place(const RowsInPlace& o) { run(o, std::make_integer_sequence<int, kInPlaceRows>()); }

}  // namespace

void fill_cell_tiles(LinearTiles& tiles) {
  tiles.in_place_rows = kInPlaceRows;
  tiles.rows_in_place = &rows_in_place;
}

}  // namespace striate::cpu

HWY_POP_ATTRIBUTES

#else  // not x86-64: no cells

namespace striate::cpu {
void fill_cell_tiles(LinearTiles&) {}
}  // namespace striate::cpu

#endif
