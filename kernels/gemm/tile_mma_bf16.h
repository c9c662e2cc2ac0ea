#pragma once

#include "kernels/gemm/tile_mma.h"

namespace striate::tile {

/// Products on the tensor cores of tiles that are bfloat16 already, summed in float32.
template <typename Shape, typename TileA, typename TileB>
class Bf16TensorCore {
 public:
  /// As TensorCore's, of half the bytes.
  static constexpr double kWavefronts = (Shape::kM * Shape::kWarpsN + Shape::kN * Shape::kWarpsM) / 64.0;

  __device__ __forceinline__ void multiply(const bfloat16* a, const bfloat16* b) {
    // The next fragments are on their way while these are multiplied.
    Fragments fragments[2];
    fragments[0].load(a, b, 0);
    STRIATE_UNROLL
    for (int step = 0; step < Shape::kK / 16; ++step) {
      if (step + 1 < Shape::kK / 16) fragments[(step + 1) & 1].load(a, b, 16 * (step + 1));
      gpu::mma_m16n8k16_bf16(sums_, fragments[step & 1].rows, fragments[step & 1].columns);
    }
  }

  template <typename Out>
  __device__ __forceinline__ void store(const Out& out, int first_row, int first_column) const {
    Warp::store(sums_, out, first_row, first_column);
  }

 private:
  using Warp = WarpResults<Shape>;

  struct Fragments {
    uint32_t rows[Warp::kFragmentsM][4], columns[Warp::kFragmentsN][2];

    __device__ __forceinline__ void load(const bfloat16* a, const bfloat16* b, int k) {
      const int l = Warp::lane();
      const void* lines_a[Warp::kFragmentsM];
      const void* lines_b[Warp::kFragmentsN / 2];
      // A's matrices: rows 0–7 and 8–15 of the first 8 depths, then of the second.
      STRIATE_UNROLL
      for (int i = 0; i < Warp::kFragmentsM; ++i) {
        const int row = Warp::row() + 16 * i;
        lines_a[i] = a + (TileA::kDepthContiguous ? TileA::at(row + l % 16, k + l / 16 * 8)
                                                  : TileA::at(row + l / 8 % 2 * 8, k + l / 16 * 8 + l % 8));
      }
      // B's: both depths of columns 0–7, then of 8–15.
      STRIATE_UNROLL
      for (int j = 0; j < Warp::kFragmentsN / 2; ++j) {
        const int column = Warp::column() + 16 * j + l / 16 * 8;
        lines_b[j] = b + (TileB::kDepthContiguous ? TileB::at(column + l % 8, k + l / 8 % 2 * 8)
                                                  : TileB::at(column, k + l % 16));
      }
      if constexpr (TileA::kDepthContiguous) {
        gpu::ldmatrix_x4(rows, lines_a);
      } else {
        gpu::ldmatrix_x4_trans(rows, lines_a);
      }
      if constexpr (TileB::kDepthContiguous) {
        gpu::ldmatrix_x4(columns, lines_b);
      } else {
        gpu::ldmatrix_x4_trans(columns, lines_b);
      }
    }
  };

  float sums_[Warp::kFragmentsM][Warp::kFragmentsN][4] = {};
};

}  // namespace striate::tile
