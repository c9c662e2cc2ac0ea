// The register tiles of a linear layer whose batch fills them, beside those of kernels/gemm/micro.h: these read or
// write the weights where they lie, once.
//   rows_in_place  broadcasts values of w: its rows are contiguous along the depth. They often lie a multiple of 4 KB
//                  apart, so that one column's lines share a set of the L1 cache, 12 lines deep here: ten rows of w,
//                  fetched 512 bytes ahead, reach 80% of the peak with 32 rows of batch where 14 reach 55%.
//   rows_packed    reads a panel of w and packs it for the tiles that follow; meanwhile it fetches the next block.
//   gradient       a tile of dw goes to memory past the caches, or is kept for the optimizer's update of the weights,
//                  which are fetched meanwhile.
// Deterministic: each value is one chain of multiply–adds in ascending depth.
#include "kernels/linear/tiles.h"

#include <algorithm>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/tiles.cpp"
#include "kernels/simd.h"

#include <hwy/cache_control.h>

#include "kernels/gemm/micro_target.h"
#include "kernels/optimizer/update_step.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

constexpr Floats kFloats;
constexpr int64_t kLanes = gemm::HWY_NAMESPACE::kLanes;
constexpr int64_t kColumns = 2 * kLanes;
constexpr int kRows = gemm::HWY_NAMESPACE::kRows;
constexpr int kInPlaceRows = std::min(kRows, 10);

template <int rows>
struct Tile {
  FloatVector low[rows], high[rows];

  HWY_INLINE void load(const float* c, int64_t stride, bool add) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      low[i] = add ? hn::LoadU(kFloats, c + i * stride) : hn::Zero(kFloats);
      high[i] = add ? hn::LoadU(kFloats, c + i * stride + kLanes) : hn::Zero(kFloats);
    }
  }
  HWY_INLINE void store(float* c, int64_t stride) const {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      hn::StoreU(low[i], kFloats, c + i * stride);
      hn::StoreU(high[i], kFloats, c + i * stride + kLanes);
    }
  }
  /// Adds the outer product of values a(i) and a row of B.
  template <class A>
  HWY_INLINE void multiply_add(const A& a, FloatVector b_low, FloatVector b_high) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const FloatVector v = hn::Set(kFloats, a(i));
      low[i] = hn::MulAdd(v, b_low, low[i]);
      high[i] = hn::MulAdd(v, b_high, high[i]);
    }
  }
};

template <int rows>
HWY_NOINLINE void tile_in_place(const RowsInPlace& o, int64_t first, const float* HWY_RESTRICT x, float* c,
                                bool fetch) {
  constexpr int64_t kAhead = 128, kStep = 16;
  Tile<rows> tile;
  tile.load(c, kColumns, o.add);
  const float* HWY_RESTRICT w = o.w + first * o.stride;
  const int64_t stride = o.stride;
  for (int64_t d = 0; d < o.run; d += kStep, w += kStep) {
    if (fetch) {
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) hwy::Prefetch(w + i * stride + kAhead);
    }
    const int64_t steps = std::min(kStep, o.run - d);
    for (int64_t s = 0; s < steps; ++s, x += kColumns) {
      tile.multiply_add([&](int i) HWY_ATTR { return w[i * stride + s]; }, hn::LoadU(kFloats, x),
                        hn::LoadU(kFloats, x + kLanes));
    }
  }
  tile.store(c, kColumns);
}

using TileInPlace = void (*)(const RowsInPlace&, int64_t, const float*, float*, bool);

template <int... sizes>
void rows_in_place(const RowsInPlace& o, std::integer_sequence<int, sizes...>) {
  static constexpr TileInPlace kTiles[] = {&tile_in_place<sizes + 1>...};
  const int64_t tiles = (o.rows + kInPlaceRows - 1) / kInPlaceRows;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = o.rows * t / tiles, rows = o.rows * (t + 1) / tiles - first;
    for (int64_t panel = 0; panel < o.panels; ++panel) {
      kTiles[rows - 1](o, first, o.x + panel * o.panel_stride, o.c + (panel * o.rows + first) * kColumns, panel == 0);
    }
  }
}
void RowsInPlaceTiles(const RowsInPlace& o) { rows_in_place(o, std::make_integer_sequence<int, kInPlaceRows>()); }

template <int rows>
HWY_NOINLINE void tile_packed(const RowsPacked& o) {
  Tile<rows> tile;
  tile.load(o.c, o.c_stride, o.add);
  const float* HWY_RESTRICT w = o.w;
  const float* HWY_RESTRICT dy = o.dy;
  float* HWY_RESTRICT packed = o.packed;
  const float* ahead = o.ahead;
  int64_t line = o.ahead_line;
  const int64_t stride = o.stride;
  for (int64_t d = 0; d < o.run; ++d, w += stride, dy += kColumns, packed += kColumns) {
    if (ahead != nullptr) {
      __builtin_prefetch(ahead + 16 * line, 0, 2);  // into the L2 cache
      __builtin_prefetch(ahead + 16 * line + 16, 0, 2);
      line += 2;
      if (line >= o.ahead_lines) {
        line = 0;
        ahead += stride;
      }
    }
    const FloatVector low = hn::LoadU(kFloats, w), high = hn::LoadU(kFloats, w + kLanes);
    hn::StoreU(low, kFloats, packed);
    hn::StoreU(high, kFloats, packed + kLanes);
    tile.multiply_add([&](int i) HWY_ATTR { return dy[i]; }, low, high);
  }
  tile.store(o.c, o.c_stride);
}

using TilePacked = void (*)(const RowsPacked&);

template <int... sizes>
void rows_packed(const RowsPacked& o, std::integer_sequence<int, sizes...>) {
  static constexpr TilePacked kTiles[] = {&tile_packed<sizes + 1>...};
  kTiles[o.rows - 1](o);
}
void RowsPackedTile(const RowsPacked& o) { rows_packed(o, std::make_integer_sequence<int, kRows>()); }

/// Calls fn(part, j) for the vectors of `columns` ≤ kColumns columns.
template <typename Fn>
HWY_INLINE void for_each_column(int64_t columns, Fn&& fn) {
  for_each_vector(0, columns, [&](int64_t j, auto part) HWY_ATTR { fn(part, j); });
}

void Update(const UpdateRule& rule, const ParameterUpdate<float>& u, int64_t rows, int64_t stride, const float* g,
            int64_t g_stride) {
  with_step(rule, u.weight_decay, [&](const auto& step) HWY_ATTR {
    for (int64_t i = 0; i < rows; ++i) {
      for_each_vector(0, u.n, [&](int64_t j, auto part) HWY_ATTR {
        step(part, i * stride + j, part.load(u.w + i * stride + j), part.load(g + i * g_stride + j), u);
      });
    }
  });
}

HWY_NOINLINE void store_tile(const GradientTile& o, const float* gradient) {
  for (int64_t i = 0; i < o.rows; ++i) {
    for_each_column(o.columns, [&](auto part, int64_t j) HWY_ATTR {
      part.store(part.load(gradient + i * kColumns + j), o.dw + i * o.stride + j);
    });
  }
}

HWY_NOINLINE void load_tile(const GradientTile& o, float* gradient) {
  std::fill(gradient, gradient + o.rows * kColumns, 0.0f);
  for (int64_t i = 0; i < o.rows; ++i) {
    for_each_column(o.columns, [&](auto part, int64_t j) HWY_ATTR {
      part.store(part.load(o.dw + i * o.stride + j), gradient + i * kColumns + j);
    });
  }
}

/// One line a call of each of a parameter's arrays, into the L2 cache.
class Fetch {
 public:
  Fetch(const GradientTile& o, int64_t lines)
      : u_(o.fetch), stride_(o.fetch_stride), lines_(o.fetch_lines), left_(lines_ > 0 ? lines : 0) {
    if (left_ == 0) return;
    offset_ = o.fetch_first / lines_ * stride_;
    line_ = o.fetch_first % lines_;
  }
  HWY_INLINE void next() {
    if (left_ == 0) return;
    --left_;
    const int64_t at = offset_ + 16 * line_;
    __builtin_prefetch(u_->w + at, 0, 2);
    if (u_->s1 != nullptr) __builtin_prefetch(u_->s1 + at, 0, 2);
    if (u_->s2 != nullptr) __builtin_prefetch(u_->s2 + at, 0, 2);
    if (++line_ == lines_) {
      line_ = 0;
      offset_ += stride_;
    }
  }

 private:
  const ParameterUpdate<float>* u_;
  int64_t stride_, lines_, left_, offset_ = 0, line_ = 0;
};

template <int rows>
HWY_NOINLINE void tile_gradient(const GradientTile& o) {
  HWY_ALIGN float values[rows * kColumns];
  const bool add = o.use == GradientUse::add;
  if (add) load_tile(o, values);
  Tile<rows> tile;
  tile.load(values, kColumns, add);
  const float* HWY_RESTRICT dy = o.dy;
  const float* HWY_RESTRICT x = o.x;
  Fetch fetch(o, o.fetch != nullptr ? rows * kColumns / 16 : 0);
  for (int64_t n = 0; n < o.run; ++n, dy += rows, x += kColumns) {
    fetch.next();
    tile.multiply_add([&](int i) HWY_ATTR { return dy[i]; }, hn::LoadU(kFloats, x), hn::LoadU(kFloats, x + kLanes));
  }
  if (o.use == GradientUse::stream) {  // whole tiles alone
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      hn::Stream(tile.low[i], kFloats, o.dw + i * o.stride);
      hn::Stream(tile.high[i], kFloats, o.dw + i * o.stride + kLanes);
    }
  } else if (o.columns == kColumns) {
    tile.store(o.dw, o.stride);
  } else {
    tile.store(values, kColumns);
    store_tile(o, values);
  }
}

using TileGradient = void (*)(const GradientTile&);

template <int... sizes>
void gradient(const GradientTile& o, std::integer_sequence<int, sizes...>) {
  static constexpr TileGradient kTiles[] = {&tile_gradient<sizes + 1>...};
  kTiles[o.rows - 1](o);
}
void Gradient(const GradientTile& o) { gradient(o, std::make_integer_sequence<int, kRows>()); }

void EndStream() { hwy::FlushStream(); }

void FillTiles(LinearTiles& tiles) {
  tiles.in_place_rows = kInPlaceRows;
  tiles.vector_bytes = 4 * kLanes;
  tiles.rows_in_place = &RowsInPlaceTiles;
  tiles.rows_packed = &RowsPackedTile;
  tiles.gradient = &Gradient;
  tiles.update = &Update;
  tiles.end_stream = &EndStream;
}

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(FillTiles);

LinearTiles linear_tiles() {
  LinearTiles tiles;
  HWY_DYNAMIC_DISPATCH(FillTiles)(tiles);
  return tiles;
}

}  // namespace striate::cpu
#endif
