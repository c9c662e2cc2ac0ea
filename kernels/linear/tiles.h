#pragma once

#include <cstdint>

#include "kernels/optimizer/optimizer.h"

namespace striate::cpu {

/// y of some rows of w, transposed: for each of `panels` panels of x (nr rows of the batch, packed nr floats a step of
/// depth, panel_stride floats apart) c[panel·rows + i][nr] (+)= Σ_d w[i·stride + d]·x[d][nr].
struct RowsInPlace {
  const float* w = nullptr;  ///< read as it lies
  int64_t stride = 0;
  int64_t rows = 0, run = 0;
  const float* x = nullptr;
  int64_t panels = 0, panel_stride = 0;
  float* c = nullptr;
  bool add = false;
};

/// dx of a tile of at most mr rows of the batch and nr columns, over `run` rows of w, which are packed on the way for
/// the other tiles: c[i·c_stride + 0 … nr) (+)= Σ_d dy[d·nr + i]·w[d·stride + 0 … nr).
struct RowsPacked {
  const float* dy = nullptr;
  int64_t rows = 0, run = 0;
  const float* w = nullptr;
  int64_t stride = 0;
  float* packed = nullptr;  ///< [run][nr]
  float* c = nullptr;
  int64_t c_stride = 0;
  bool add = false;
  /// What the next block will read, fetched two cache lines a step: rows of ahead_lines lines from `ahead` on, `stride`
  /// floats apart; of the first row ahead_line lines are fetched already. Null: nothing.
  const float* ahead = nullptr;
  int64_t ahead_line = 0, ahead_lines = 0;
};

enum class GradientUse { store, add, stream };

/// dw of a tile of at most mr rows of w and `columns` ≤ nr columns: Σ_n dy[n·rows + i]·x[n·nr + j], n < run.
struct GradientTile {
  const float* dy = nullptr;
  int64_t rows = 0, run = 0, columns = 0;
  const float* x = nullptr;
  GradientUse use = GradientUse::store;
  float* dw = nullptr;  ///< at the tile
  int64_t stride = 0;   ///< floats from a row of w to the next
  /// Where not null, meanwhile fetches `rows` · nr / 16 cache lines of each of the parameter's arrays, at most one a
  /// step, from line fetch_first of its rows of fetch_lines lines on; the rows are fetch_stride floats apart.
  const ParameterUpdate<float>* fetch = nullptr;
  int64_t fetch_stride = 0, fetch_lines = 0, fetch_first = 0;
};

/// The register tiles of a linear layer, compiled for each instruction set. A tile of w read in place has fewer rows
/// than gemm::MicroKernels' tile.
struct LinearTiles {
  int64_t in_place_rows = 0, vector_bytes = 0;
  void (*rows_in_place)(const RowsInPlace&) = nullptr;
  void (*rows_packed)(const RowsPacked&) = nullptr;
  void (*gradient)(const GradientTile&) = nullptr;
  /// Moves `rows` rows of a parameter, each u.n values and `stride` floats from the next, by the gradients g.
  void (*update)(const UpdateRule& rule, const ParameterUpdate<float>& u, int64_t rows, int64_t stride, const float* g,
                 int64_t g_stride) = nullptr;
  void (*end_stream)() = nullptr;  ///< after a thread's last GradientUse::stream
};
LinearTiles linear_tiles();
/// Makes rows_in_place() that of cells of two bfloat16 (gemm/micro.h): strides and depths of w and x then count cells.
void fill_cell_tiles(LinearTiles& tiles);

}  // namespace striate::cpu
