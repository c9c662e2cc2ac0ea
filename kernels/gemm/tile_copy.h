#pragma once

#include "kernels/bfloat16.h"
#include "kernels/gemm/tile_shape.h"
#include "kernels/gpu/async_copy.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/vector.h"

// From global memory into the tiles. An operand knows where its elements lie; a copier gives every thread its share of
// a tile. kWidth values go at once: 16 bytes where every run is a multiple of that and begins at one, 8 where rows of
// few channels allow no more (TapRuns in conv2d/cuda.cu), else single values. cp.async carries 4 bytes at least, so
// that single values of bfloat16 go by way of the registers: begin() asks for them, finish() stores them, and products
// lie between the two.
//
// An operand is a struct of launch parameters:
//   Value, kName                          float or bfloat16; what tables of choices call the operand
//   values()                              of memory, for a group: what the choice of a tile asks
//   enter_group(g)                        moves it to group g
//   kDepthContiguous, kHasPlaces
//   contiguous along the depth:  Depth along(k); Source source(row_in_tile, first_row, places, Depth)
//   contiguous along the rows:   Row column(n);  Source source(Row, k)
// What a thread keeps fixed over the whole loop is computed once: its row's place (in shared memory, `places`, for rows
// that are pixels) or its column; the other coordinate moves by kK a step.
namespace striate::tile {

/// Values in 16 bytes.
template <typename T>
inline constexpr int kWhole = 16 / static_cast<int>(sizeof(T));

/// Where a run begins, or that it is zeros (then the address is only an aligned one).
template <typename T>
struct Source {
  const T* address;
  bool valid;
};

/// A thread's copies of a tile, kCount runs of kWidth values, of which each has a number.
template <typename T, int kWidth, int kCount, bool kThroughRegisters = kWidth * sizeof(T) == 2>
struct Runs {
  static constexpr bool kHeld = false;
  static_assert(kWidth * sizeof(T) >= 4);
  __device__ __forceinline__ void begin(int, T* shared, const Source<T>& source) {
    gpu::cp_async<kWidth * sizeof(T)>(shared, source.address, source.valid);
  }
};
template <typename T, int kWidth, int kCount>
struct Runs<T, kWidth, kCount, true> {
  static constexpr bool kHeld = true;
  static_assert(kWidth == 1);
  uint16_t held[kCount];

  __device__ __forceinline__ void begin(int i, T*, const Source<T>& source) {
    held[i] = source.valid ? __ldg(&source.address->bits) : uint16_t{0};
  }
  __device__ __forceinline__ void finish(int i, T* shared) const { shared->bits = held[i]; }
};

template <typename Operand, int kRows, int kDepth, int kWidth, int kThreads, bool kDepthContiguous>
class Copier;

/// Neighbouring threads copy neighbours along the depth.
template <typename Operand, int kRows, int kDepth, int kWidth, int kThreads>
class Copier<Operand, kRows, kDepth, kWidth, kThreads, true> {
  using T = typename Operand::Value;
  static constexpr int kRuns = kDepth / kWidth, kRowsAtOnce = kThreads / kRuns;

 public:
  using Tile = DepthTile<T, kRows, kDepth>;
  static constexpr int kPlaces = Operand::kHasPlaces ? kRows : 0;
  using Copies = Runs<T, kWidth, kRows / kRowsAtOnce>;

  __device__ __forceinline__ Copier(const Operand& operand, int first_row, int2* places)
      : operand_(operand), first_row_(first_row), places_(places) {
    if constexpr (Operand::kHasPlaces) {
      for (int row = static_cast<int>(threadIdx.x); row < kRows; row += kThreads) {
        gpu::store_8(places + row, operand.place(first_row + row));
      }
    }
  }

  __device__ __forceinline__ void begin(Copies& copies, T* tile, int k) const {
    static_assert(kThreads % kRuns == 0 && kRows % kRowsAtOnce == 0);
    const auto along = operand_.along(k + depth());
    STRIATE_UNROLL
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
      copies.begin(i, tile + Tile::at(row(i), depth()), operand_.source(row(i), first_row_, places_, along));
    }
  }
  __device__ __forceinline__ void finish(const Copies& copies, T* tile) const {
    STRIATE_UNROLL
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) copies.finish(i, tile + Tile::at(row(i), depth()));
  }

 private:
  __device__ __forceinline__ static int depth() { return static_cast<int>(threadIdx.x) % kRuns * kWidth; }
  __device__ __forceinline__ static int row(int i) { return static_cast<int>(threadIdx.x) / kRuns + i * kRowsAtOnce; }

  const Operand& operand_;
  const int first_row_;
  const int2* const places_;
};

/// Neighbouring threads copy neighbouring rows.
template <typename Operand, int kRows, int kDepth, int kWidth, int kThreads>
class Copier<Operand, kRows, kDepth, kWidth, kThreads, false> {
  using T = typename Operand::Value;
  static constexpr int kRuns = kRows / kWidth, kLinesAtOnce = kThreads / kRuns;

 public:
  using Tile = RowTile<T, kRows, kDepth>;
  static constexpr int kPlaces = 0;
  using Copies = Runs<T, kWidth, kDepth / kLinesAtOnce>;

  __device__ __forceinline__ Copier(const Operand& operand, int first_row, int2*)
      : operand_(operand),
        row_(static_cast<int>(threadIdx.x) % kRuns * kWidth),
        column_(operand.column(first_row + row_)) {}

  __device__ __forceinline__ void begin(Copies& copies, T* tile, int k) const {
    static_assert(kThreads % kRuns == 0 && kDepth % kLinesAtOnce == 0);
    STRIATE_UNROLL
    for (int i = 0; i < kDepth / kLinesAtOnce; ++i) {
      copies.begin(i, tile + Tile::at(row_, line(i)), operand_.source(column_, k + line(i)));
    }
  }
  __device__ __forceinline__ void finish(const Copies& copies, T* tile) const {
    STRIATE_UNROLL
    for (int i = 0; i < kDepth / kLinesAtOnce; ++i) copies.finish(i, tile + Tile::at(row_, line(i)));
  }

 private:
  __device__ __forceinline__ static int line(int i) { return static_cast<int>(threadIdx.x) / kRuns + i * kLinesAtOnce; }

  const Operand& operand_;
  const int row_;
  const typename Operand::Column column_;
};

/// A matrix as it lies, row after row: element (row, k) at row·pitch + k.
template <typename T>
struct MatrixRows {
  static constexpr const char* kName = "rows";
  using Value = T;
  static constexpr bool kDepthContiguous = true, kHasPlaces = false;
  const T* data;
  int64_t group;  ///< values from a group to the next
  int pitch, rows, depth;

  struct Depth {
    int offset;
    bool valid;
  };
  int64_t values() const { return int64_t{rows} * depth; }
  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ Depth along(int k) const { return {k, k < depth}; }
  __device__ __forceinline__ Source<T> source(int row, int first_row, const int2*, const Depth& along) const {
    const bool valid = along.valid && first_row + row < rows;
    return {valid ? data + ((first_row + row) * pitch + along.offset) : data, valid};
  }
};

/// A matrix read across: element (row n, k) at k·pitch + n.
template <typename T>
struct MatrixColumns {
  static constexpr const char* kName = "columns";
  using Value = T;
  static constexpr bool kDepthContiguous = false, kHasPlaces = false;
  const T* data;
  int64_t group;
  int pitch, rows, depth;

  struct Column {
    int offset;
    bool valid;
  };
  int64_t values() const { return int64_t{rows} * depth; }
  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ Column column(int n) const { return {n, n < rows}; }
  __device__ __forceinline__ Source<T> source(const Column& column, int k) const {
    const bool valid = column.valid && k < depth;
    return {valid ? data + (k * pitch + column.offset) : data, valid};
  }
};

}  // namespace striate::tile
