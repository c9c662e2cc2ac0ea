#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/gemm/patches.h"

namespace striate::gemm {

/// A block of C = A·B for one panel of B, `columns` ≤ MicroKernels::nr wide. The depth is segments · run. A and B
/// consist of cells of 32 bits: a float32, or two bfloat16 that follow one another in depth; depths, strides and runs
/// count cells. B is packed: nr cells a step of depth. Element (i, d) of segment g of A:
///   multiply_rows:    a[g·segment_stride + i·a_stride + d]
///   multiply_columns: a[g·segment_stride + d·a_stride + i], or with a_stride = 0 and one segment tiles as
///   pack_columns()
///                     leaves them.
struct Block {
  const float* a = nullptr;
  int64_t a_stride = 0;
  int64_t segments = 1, segment_stride = 0, run = 0;
  const float* b = nullptr;
  int64_t b_skip = 0;  ///< cells between a segment's part of B and the next one's, in multiply_columns()
  int64_t rows = 0, columns = 0;
  float* c = nullptr;
  const int64_t* c_rows = nullptr;   ///< offset of each row in c
  bool add = false;                  ///< C += instead of C =
  bfloat16* to = nullptr;            ///< where not null the finished values go there, rounded, and C is but read
  const int64_t* to_rows = nullptr;  ///< offset of each row in `to`
  const float* bias = nullptr;       ///< [columns], added before the activation; may be null
  Activation activation = Activation::none;
  bool stream = false;  ///< multiply_columns() may write C past the caches, where it overwrites it
};

/// The inner loops of products of T, compiled for each instruction set; the best one is chosen when the program starts.
template <typename T>
struct MicroKernels {
  int64_t mr = 0, nr = 0;    ///< the register tile
  int64_t plane_pixel = 0;   ///< mr in whole vectors
  int64_t cell = 1;          ///< values of the depth in a cell of A and B
  bool reads_images = true;  ///< A may be cells as they lie in an image
  bool exact_panels = true;  ///< panels of B are cells of one value, which is what they were packed from
  bool has_avx512 = false;
  const char* target = "";

  void (*multiply_rows)(const Block&) = nullptr;
  void (*multiply_columns)(const Block&) = nullptr;

  // Where a cell holds two values, they are neighbours in depth, and an odd depth ends
  // with a zero. In sums over pixels (..._pairs, _panels, _planes) they are those of images 2·n and 2·n + 1.

  /// Patches' rows [m0,m1), columns [d0,d1) → to[(m − m0)·stride + d − d0]. The columns count cells, and each tap's
  /// channels begin a new one. May write nr cells past a row's end.
  void (*gather_rows)(const Patches<T>&, int64_t m0, int64_t m1, int64_t d0, int64_t d1, float* to,
                      int64_t stride) = nullptr;
  /// The same of a cell's images; the columns count values.
  void (*gather_row_pairs)(const Patches<T>&, int64_t m0, int64_t m1, int64_t d0, int64_t d1, float* to,
                           int64_t stride) = nullptr;
  /// The pixels that output rows p0 … p0 + rows − 1 of image n see: their window with its zeros, window_width() pixels
  /// a row. Each pixel begins a new cell, but where rows_of_taps_merge() each row. May write nr cells past the end.
  void (*copy_window)(const Patches<T>&, int64_t n, int64_t p0, int64_t rows, float* to) = nullptr;
  /// The same of a cell's images, `channels` cells a pixel.
  void (*copy_window_pairs)(const Patches<T>&, int64_t n, int64_t p0, int64_t rows, float* to) = nullptr;
  /// dy[m·stride + k], m < rows, k < columns → tiles of at most mr columns: for each its rows one after another, by
  /// cells. May write nr cells past the end.
  void (*pack_columns)(const T* dy, int64_t stride, int64_t rows, int64_t columns, float* to) = nullptr;
  /// A panel of B from rows: w[j·stride + d], d < depth → to[d·nr + j], j < columns, by cells; zeros for columns ≤ j <
  /// nr.
  void (*pack_transposed)(const T* w, int64_t stride, int64_t columns, int64_t depth, float* to) = nullptr;
  /// Panels of B as it lies: w[d·stride + j], d < depth → to[j/nr][d][j mod nr], by cells; panels `panel_stride` cells
  /// apart.
  void (*pack_direct)(const T* w, int64_t stride, int64_t columns, int64_t depth, float* to,
                      int64_t panel_stride) = nullptr;
  /// The same of `depth` rows, row d to to[j/nr][d·to_stride + j mod nr]. The second image lies `pair` values on; 0:
  /// none.
  void (*pack_panels)(const T* w, int64_t pair, int64_t stride, int64_t columns, int64_t depth, float* to,
                      int64_t to_stride, int64_t panel_stride) = nullptr;
  /// x[i·stride + c], i < pixels, c < channels → for tile t of the channels to[t·plane_stride + i·to_stride + c −
  /// tile_begin(t)]; plane_pixel cells are written for each. The second image lies `pair` values on; 0: none.
  void (*pack_planes)(const T* x, int64_t pair, int64_t stride, int64_t pixels, int64_t channels, float* to,
                      int64_t to_stride, int64_t plane_stride) = nullptr;
  /// sums[j] += Σ_d panel[d·nr + j], d < depth, j < columns; where exact_panels.
  void (*add_columns)(const float* panel, int64_t depth, int64_t columns, double* sums) = nullptr;
  /// sums[k] = Σ_m dy[m·stride + k], m < rows, k < columns.
  void (*sum_rows)(const T* dy, int64_t stride, int64_t rows, int64_t columns, float* sums) = nullptr;
};

template <typename T>
MicroKernels<T> micro_kernels();
template <>
MicroKernels<float> micro_kernels();
template <>
MicroKernels<bfloat16> micro_kernels();
/// The part of them that micro_copy.cpp defines.
void add_copy_kernels(MicroKernels<float>& kernels);
void add_copy_kernels(MicroKernels<bfloat16>& kernels);

/// Tile t of `rows` rows cut as evenly as tiles of at most mr allow: rows [tile_begin(t), tile_begin(t + 1)).
inline int64_t tile_count(int64_t rows, int64_t mr) { return (rows + mr - 1) / mr; }
inline int64_t tile_begin(int64_t t, int64_t tiles, int64_t rows) { return rows * t / tiles; }

/// Runs the block's tiles, each by the function for its rows: functions[rows − 1].
using TileFunction = void (*)(const Block&, int64_t first);
inline void run_tiles(const Block& block, int64_t mr, const TileFunction* functions) {
  const int64_t tiles = tile_count(block.rows, mr);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = tile_begin(t, tiles, block.rows);
    functions[tile_begin(t + 1, tiles, block.rows) - first - 1](block, first);
  }
}

}  // namespace striate::gemm
