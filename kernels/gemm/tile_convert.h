#pragma once

#include "kernels/bfloat16.h"
#include "kernels/gemm/tile_shape.h"
#include "kernels/gpu/convert.h"
#include "kernels/gpu/vector.h"

// From global memory into tiles of bfloat16, by way of the registers: 16 bytes are loaded, 8 stored. Half of the shared
// memory and of the passes through it that float32 takes, and each value is rounded once. load() and store() are apart,
// so that products lie between them, which hide the memory's latency. Operands as in tile_copy.h.
namespace striate::tile {

template <int kCount>
struct Quads {
  float4 at[kCount];
};

template <typename Source>
__device__ __forceinline__ float4 load_quad(const Source& source) {
  return source.valid ? gpu::load_16_constant(source.address) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

__device__ __forceinline__ void store_halves(bfloat16* shared, const float4& v) {
  gpu::store_8(shared, make_uint2(gpu::to_bf16x2(v.y, v.x), gpu::to_bf16x2(v.w, v.z)));
}

template <typename Operand, int kRows, int kDepth, int kThreads, bool kDepthContiguous>
class Converter;

/// Neighbouring threads take neighbours along the depth.
template <typename Operand, int kRows, int kDepth, int kThreads>
class Converter<Operand, kRows, kDepth, kThreads, true> {
 public:
  using Tile = DepthTile<bfloat16, kRows, kDepth>;
  static constexpr int kPlaces = Operand::kHasPlaces ? kRows : 0;
  static constexpr int kRuns = kDepth / 4, kRowsAtOnce = kThreads / kRuns;
  static_assert(kThreads % kRuns == 0 && kRows % kRowsAtOnce == 0);
  using Values = Quads<kRows / kRowsAtOnce>;

  __device__ __forceinline__ Converter(const Operand& operand, int first_row, int2* places)
      : operand_(operand), first_row_(first_row), places_(places) {
    if constexpr (Operand::kHasPlaces) {
      for (int row = static_cast<int>(threadIdx.x); row < kRows; row += kThreads) {
        gpu::store_8(places + row, operand.place(first_row + row));
      }
    }
  }

  __device__ __forceinline__ void load(Values& values, int k) const {
    const auto along = operand_.along(k + depth());
    STRIATE_UNROLL
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
      values.at[i] = load_quad(operand_.source(row(i), first_row_, places_, along));
    }
  }
  __device__ __forceinline__ void store(bfloat16* tile, const Values& values) const {
    STRIATE_UNROLL
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) store_halves(tile + Tile::at(row(i), depth()), values.at[i]);
  }

 private:
  __device__ __forceinline__ static int depth() { return static_cast<int>(threadIdx.x) % kRuns * 4; }
  __device__ __forceinline__ static int row(int i) { return static_cast<int>(threadIdx.x) / kRuns + i * kRowsAtOnce; }

  const Operand& operand_;
  const int first_row_;
  const int2* const places_;
};

/// Neighbouring threads take neighbouring rows.
template <typename Operand, int kRows, int kDepth, int kThreads>
class Converter<Operand, kRows, kDepth, kThreads, false> {
 public:
  using Tile = RowTile<bfloat16, kRows, kDepth>;
  static constexpr int kPlaces = 0;
  static constexpr int kRuns = kRows / 4, kLinesAtOnce = kThreads / kRuns;
  static_assert(kThreads % kRuns == 0 && kDepth % kLinesAtOnce == 0);
  using Values = Quads<kDepth / kLinesAtOnce>;

  __device__ __forceinline__ Converter(const Operand& operand, int first_row, int2*)
      : operand_(operand), row_(static_cast<int>(threadIdx.x) % kRuns * 4), column_(operand.column(first_row + row_)) {}

  __device__ __forceinline__ void load(Values& values, int k) const {
    STRIATE_UNROLL
    for (int i = 0; i < kDepth / kLinesAtOnce; ++i) values.at[i] = load_quad(operand_.source(column_, k + line(i)));
  }
  __device__ __forceinline__ void store(bfloat16* tile, const Values& values) const {
    STRIATE_UNROLL
    for (int i = 0; i < kDepth / kLinesAtOnce; ++i) store_halves(tile + Tile::at(row_, line(i)), values.at[i]);
  }

 private:
  __device__ __forceinline__ static int line(int i) { return static_cast<int>(threadIdx.x) / kRuns + i * kLinesAtOnce; }

  const Operand& operand_;
  const int row_;
  const typename Operand::Column column_;
};

}  // namespace striate::tile
