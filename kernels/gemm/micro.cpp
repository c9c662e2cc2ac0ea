// The register tile every matrix product here comes down to: mr × nr values of C stay in registers over the whole
// depth; a step loads one row of the packed panel of B (two vectors) and broadcasts mr values of A. With AVX-512 28 of
// the 32 registers accumulate (14×32): 28 multiply–adds for 16 loads, bound by the multipliers. AVX2: 6×16, 12 of 16
// registers. Deterministic: each element of C is one chain of multiply–adds in ascending depth, wherever its tile
// begins.
#include "kernels/gemm/micro.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "kernels/gemm/micro_bf16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/micro.cpp"
#include "kernels/simd.h"

#include "kernels/gemm/micro_target.h"

HWY_BEFORE_NAMESPACE();
namespace striate::gemm::HWY_NAMESPACE {

HWY_INLINE Vector activate(Vector v, Activation activation) {
  const auto negative = hn::Lt(v, hn::Zero(kTag));
  if (activation == Activation::relu) return hn::IfThenZeroElse(negative, v);
  if (activation == Activation::leaky_relu) {
    return hn::IfThenElse(negative, hn::Mul(v, hn::Set(kTag, kLeakySlope)), v);
  }
  return v;
}

/// One half of a row of the tile into C.
template <typename T>
HWY_INLINE void finish(Vector v, T* c, int64_t n, const float* bias, const Block& block) {
  if (n >= kLanes) {
    if (bias) v = hn::Add(v, hn::LoadU(kTag, bias));
    cpu::HWY_NAMESPACE::WholeVector().store(activate(v, block.activation), c);
  } else if (n > 0) {
    if (bias) v = hn::Add(v, load_part(bias, n));
    cpu::HWY_NAMESPACE::PartOfVector{static_cast<size_t>(n)}.store(activate(v, block.activation), c);
  }
}

/// The tile into C, by way of memory: one small loop for every size of tile, at about 1% of a tile's time.
template <typename T>
HWY_NOINLINE void finish_tile(const float* HWY_RESTRICT tile, int rows, const Block& block, int64_t first, T* to,
                              const int64_t* to_rows) {
  const float* bias_high = block.bias && block.columns > kLanes ? block.bias + kLanes : nullptr;
  for (int i = 0; i < rows; ++i, tile += kColumns) {
    T* const c = to + to_rows[first + i];
    finish(hn::Load(kTag, tile), c, block.columns, block.bias, block);
    finish(hn::Load(kTag, tile + kLanes), c + kLanes, block.columns - kLanes, bias_high, block);
  }
}

/// What the tile adds to: C's values, or zeros.
template <int rows, bool wide>
HWY_INLINE void load_tile(Vector (&low)[rows], Vector (&high)[rows], const Block& block, int64_t first) {
  if (!block.add) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) low[i] = high[i] = hn::Zero(kTag);
  } else if (block.columns == (wide ? kColumns : kLanes)) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const float* c = block.c + block.c_rows[first + i];
      low[i] = hn::LoadU(kTag, c);
      if (wide) high[i] = hn::LoadU(kTag, c + kLanes);
    }
  } else {
    const int64_t last = block.columns - (wide ? kLanes : 0);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const float* c = block.c + block.c_rows[first + i];
      low[i] = wide ? hn::LoadU(kTag, c) : load_part(c, last);
      if (wide) high[i] = load_part(c + kLanes, last);
    }
  }
}

/// Straight from registers where the tile is whole: by way of memory it takes 100 cycles more.
template <int rows, bool wide>
HWY_INLINE void store_tile(Vector (&low)[rows], Vector (&high)[rows], const Block& block, int64_t first) {
  if (block.columns == (wide ? kColumns : kLanes) && block.activation != Activation::leaky_relu && !block.to) {
    if (block.bias) {
      const Vector bias_low = hn::LoadU(kTag, block.bias);
      const Vector bias_high = wide ? hn::LoadU(kTag, block.bias + kLanes) : bias_low;
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        low[i] = hn::Add(low[i], bias_low);
        if (wide) high[i] = hn::Add(high[i], bias_high);
      }
    }
    if (block.activation == Activation::relu) {
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        low[i] = activate(low[i], Activation::relu);
        if (wide) high[i] = activate(high[i], Activation::relu);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      float* c = block.c + block.c_rows[first + i];
      hn::StoreU(low[i], kTag, c);
      if (wide) hn::StoreU(high[i], kTag, c + kLanes);
    }
    return;
  }
  HWY_ALIGN float tile[rows * kColumns];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    hn::Store(low[i], kTag, tile + i * kColumns);
    hn::Store(high[i], kTag, tile + i * kColumns + kLanes);
  }
  if (block.to) {
    finish_tile(tile, rows, block, first, block.to, block.to_rows);
  } else {
    finish_tile(tile, rows, block, first, block.c, block.c_rows);
  }
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
/// registers, which x86 has. Not `wide`: one vector of columns, for panels that hold no more.
template <int rows, bool wide>
HWY_NOINLINE void tile_by_rows(const Block& block, int64_t first) {
  Vector low[rows], high[rows];
  load_tile<rows, wide>(low, high, block, first);
  if (!block.add && !block.to) prefetch_tile<rows>(block, first);
  const ptrdiff_t stride = block.a_stride;
  const float* HWY_RESTRICT b = block.b;
  for (int64_t g = 0; g < block.segments; ++g) {
    constexpr int kPointers = (rows + 2) / 3;
    const float* HWY_RESTRICT a[kPointers];
#pragma GCC unroll 16
    for (int i = 0; i < kPointers; ++i) a[i] = block.a + g * block.segment_stride + (first + 3 * i) * stride;
    for (int64_t d = 0; d < block.run; ++d, b += kColumns) {
      const Vector b_low = hn::LoadU(kTag, b);
      const Vector b_high = wide ? hn::LoadU(kTag, b + kLanes) : b_low;
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const Vector v = hn::Set(kTag, a[i / 3][d + (i % 3) * stride]);
        low[i] = hn::MulAdd(v, b_low, low[i]);
        if (wide) high[i] = hn::MulAdd(v, b_high, high[i]);
      }
    }
  }
  store_tile<rows, wide>(low, high, block, first);
}

/// A by columns: the tile's rows lie side by side for every step of depth.
template <int rows, bool wide>
HWY_NOINLINE void tile_by_columns(const Block& block, int64_t first) {
  Vector low[rows], high[rows];
  load_tile<rows, wide>(low, high, block, first);
  if (!block.add && !block.to) prefetch_tile<rows>(block, first);
  const bool packed = block.a_stride == 0;
  const ptrdiff_t stride = packed ? rows : block.a_stride;
  const float* base = block.a + (packed ? first * block.run : first);
  const float* HWY_RESTRICT b = block.b;
  for (int64_t g = 0; g < block.segments; ++g, base += block.segment_stride, b += block.b_skip) {
    const float* HWY_RESTRICT a = base;
    for (int64_t d = 0; d < block.run; ++d, a += stride, b += kColumns) {
      const Vector b_low = hn::LoadU(kTag, b);
      const Vector b_high = wide ? hn::LoadU(kTag, b + kLanes) : b_low;
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const Vector v = hn::Set(kTag, a[i]);
        low[i] = hn::MulAdd(v, b_low, low[i]);
        if (wide) high[i] = hn::MulAdd(v, b_high, high[i]);
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
void multiply_columns(const Block& block) { by_columns(block, std::make_integer_sequence<int, kRows>()); }

template <typename T>
void fill(MicroKernels<T>& kernels) {
  kernels.mr = kRows;
  kernels.nr = kColumns;
  kernels.plane_pixel = kPlanePixel;
  kernels.target = hwy::TargetName(HWY_TARGET);
  kernels.multiply_rows = &multiply_rows;
  kernels.multiply_columns = &multiply_columns;
  kernels.reads_images = std::is_same_v<T, float>;
  kernels.has_avx512 = HWY_TARGET == HWY_AVX3;
}
void fill_floats(MicroKernels<float>& kernels) { fill(kernels); }
void fill_bfloat16(MicroKernels<bfloat16>& kernels) { fill(kernels); }

}  // namespace striate::gemm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::gemm {

HWY_EXPORT(fill_floats);
HWY_EXPORT(fill_bfloat16);

template <>
MicroKernels<float> micro_kernels() {
  MicroKernels<float> kernels;
  HWY_DYNAMIC_DISPATCH(fill_floats)(kernels);
  add_copy_kernels(kernels);
  return kernels;
}

template <>
MicroKernels<bfloat16> micro_kernels() {
  MicroKernels<bfloat16> kernels;
  HWY_DYNAMIC_DISPATCH(fill_bfloat16)(kernels);
  add_copy_kernels(kernels);
  if (kernels.has_avx512 && !WithoutBf16Instructions::any()) fill_bf16_cells(kernels);
  return kernels;
}

}  // namespace striate::gemm
#endif  // HWY_ONCE
