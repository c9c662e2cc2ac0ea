#pragma once

#include <cstdint>
#include <string>

#include "kernels/context.h"

namespace striate {

/// The columns of a matrix [N,K] divided into `parts` ranges, part p from column begin(p) = ⌊K·p/parts⌋ on. A part's
/// block is [N, columns(p)]; blocks first to last − 1 lie one behind the other.
struct ColumnBlocksShape {
  int64_t N = 0, K = 0, parts = 1;
  int64_t first = 0, last = parts;

  constexpr int64_t begin(int64_t part) const { return K * part / parts; }
  constexpr int64_t columns(int64_t part) const { return begin(part + 1) - begin(part); }
  /// The part that column c belongs to: the last one with begin(p) ≤ c, which is p·K < (c + 1)·parts.
  constexpr int64_t part_of_column(int64_t c) const { return ((c + 1) * parts - 1) / K; }
  /// Columns of all blocks.
  constexpr int64_t columns() const { return begin(last) - begin(first); }
  /// Values of all blocks.
  constexpr int64_t size() const { return N * columns(); }
  /// Where the blocks hold row n, column c of the matrix.
  constexpr int64_t place(int64_t n, int64_t c) const {
    const int64_t part = part_of_column(c);
    return N * (begin(part) - begin(first)) + n * columns(part) + c - begin(part);
  }
  std::string to_string() const;
  /// Throws ShapeError unless N ≥ 0, K > 0, parts > 0 and 0 ≤ first ≤ last ≤ parts.
  void check() const;
};

// What ranks exchange lies in one piece: each has computed some columns of a matrix, and all want the whole of it.
// columns_to_blocks: blocks = those columns of x [N,K].
// blocks_to_columns: those columns of y [N,K] = blocks; the others stay.
// Input and output must not overlap. T is float or bfloat16.
namespace reference {
template <typename T>
void columns_to_blocks(const T* x, T* blocks, const ColumnBlocksShape& shape, Context& context);
template <typename T>
void blocks_to_columns(const T* blocks, T* y, const ColumnBlocksShape& shape, Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void columns_to_blocks(const T* x, T* blocks, const ColumnBlocksShape& shape, Context& context);
template <typename T>
void blocks_to_columns(const T* blocks, T* y, const ColumnBlocksShape& shape, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void columns_to_blocks(const T* x, T* blocks, const ColumnBlocksShape& shape, Context& context);
template <typename T>
void blocks_to_columns(const T* blocks, T* y, const ColumnBlocksShape& shape, Context& context);
}  // namespace cuda

}  // namespace striate
