#pragma once

#include "kernels/gemm/tile_shape.h"
#include "kernels/gpu/async_copy.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/vector.h"

// From global memory into the tiles. An operand knows where its elements lie; a copier gives every thread its share of
// a tile. kWidth floats go at once: 4 where every run is a multiple of 16 bytes and begins at one, else 1.
//
// An operand is a struct of launch parameters:
//   floats()                              of memory, for a group: what the choice of a tile asks
//   enter_group(g)                        moves it to group g
//   kDepthContiguous, kHasPlaces
//   contiguous along the depth:  Depth along(k); Source source(row_in_tile, first_row, places, Depth)
//   contiguous along the rows:   Row column(n);  Source source(Row, k)
// What a thread keeps fixed over the whole loop is computed once: its row's place (in shared memory, `places`, for rows
// that are pixels) or its column; the other coordinate moves by kK a step.
namespace striate::tile {

/// Where a run begins, or that it is zeros (then the address is only an aligned one).
struct Source {
  const float* address;
  bool valid;
};

template <int kWidth>
__device__ __forceinline__ void copy_run(float* shared, const Source& source) {
  static_assert(kWidth == 4 || kWidth == 1);
  if constexpr (kWidth == 4) {
    gpu::cp_async_16(shared, source.address, source.valid);
  } else {
    gpu::cp_async_4(shared, source.address, source.valid);
  }
}

template <typename Operand, int kRows, int kDepth, int kWidth, int kThreads, bool kDepthContiguous>
class Copier;

/// Neighbouring threads copy neighbours along the depth.
template <typename Operand, int kRows, int kDepth, int kWidth, int kThreads>
class Copier<Operand, kRows, kDepth, kWidth, kThreads, true> {
 public:
  using Tile = DepthTile<kRows, kDepth>;
  static constexpr int kPlaces = Operand::kHasPlaces ? kRows : 0;

  __device__ __forceinline__ Copier(const Operand& operand, int first_row, int2* places)
      : operand_(operand), first_row_(first_row), places_(places) {
    if constexpr (Operand::kHasPlaces) {
      for (int row = static_cast<int>(threadIdx.x); row < kRows; row += kThreads) {
        gpu::store_8(places + row, operand.place(first_row + row));
      }
    }
  }

  __device__ __forceinline__ void issue(float* tile, int k) const {
    constexpr int kRuns = kDepth / kWidth, kRowsAtOnce = kThreads / kRuns;
    static_assert(kThreads % kRuns == 0 && kRows % kRowsAtOnce == 0);
    const int thread = static_cast<int>(threadIdx.x), depth = thread % kRuns * kWidth;
    const auto along = operand_.along(k + depth);
    STRIATE_UNROLL
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
      const int row = thread / kRuns + i * kRowsAtOnce;
      copy_run<kWidth>(tile + Tile::at(row, depth), operand_.source(row, first_row_, places_, along));
    }
  }

 private:
  const Operand& operand_;
  const int first_row_;
  const int2* const places_;
};

/// Neighbouring threads copy neighbouring rows.
template <typename Operand, int kRows, int kDepth, int kWidth, int kThreads>
class Copier<Operand, kRows, kDepth, kWidth, kThreads, false> {
 public:
  using Tile = RowTile<kRows, kDepth>;
  static constexpr int kPlaces = 0;

  __device__ __forceinline__ Copier(const Operand& operand, int first_row, int2*)
      : operand_(operand),
        row_(static_cast<int>(threadIdx.x) % kRuns * kWidth),
        column_(operand.column(first_row + row_)) {}

  __device__ __forceinline__ void issue(float* tile, int k) const {
    static_assert(kThreads % kRuns == 0 && kDepth % kLinesAtOnce == 0);
    STRIATE_UNROLL
    for (int i = 0; i < kDepth / kLinesAtOnce; ++i) {
      const int line = static_cast<int>(threadIdx.x) / kRuns + i * kLinesAtOnce;
      copy_run<kWidth>(tile + Tile::at(row_, line), operand_.source(column_, k + line));
    }
  }

 private:
  static constexpr int kRuns = kRows / kWidth, kLinesAtOnce = kThreads / kRuns;
  const Operand& operand_;
  const int row_;
  const typename Operand::Column column_;
};

/// A matrix as it lies, row after row: element (row, k) at row·pitch + k.
struct MatrixRows {
  static constexpr bool kDepthContiguous = true, kHasPlaces = false;
  const float* data;
  int64_t group;  ///< floats from a group to the next
  int pitch, rows, depth;

  struct Depth {
    int offset;
    bool valid;
  };
  int64_t floats() const { return int64_t{rows} * depth; }
  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ Depth along(int k) const { return {k, k < depth}; }
  __device__ __forceinline__ Source source(int row, int first_row, const int2*, const Depth& along) const {
    const bool valid = along.valid && first_row + row < rows;
    return {valid ? data + ((first_row + row) * pitch + along.offset) : data, valid};
  }
};

/// A matrix read across: element (row n, k) at k·pitch + n.
struct MatrixColumns {
  static constexpr bool kDepthContiguous = false, kHasPlaces = false;
  const float* data;
  int64_t group;
  int pitch, rows, depth;

  struct Column {
    int offset;
    bool valid;
  };
  int64_t floats() const { return int64_t{rows} * depth; }
  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ Column column(int n) const { return {n, n < rows}; }
  __device__ __forceinline__ Source source(const Column& column, int k) const {
    const bool valid = column.valid && k < depth;
    return {valid ? data + (k * pitch + column.offset) : data, valid};
  }
};

}  // namespace striate::tile
