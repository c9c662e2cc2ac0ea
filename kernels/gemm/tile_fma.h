#pragma once

#include "kernels/gemm/tile_shape.h"
#include "kernels/gemm/tile_store.h"
#include "kernels/gpu/flops.h"
#include "kernels/gpu/vector.h"

namespace striate::tile {

/// Exact float32 products. The lanes of a warp stand 4 × 8 on its results. Each holds kRows × kColumns of them: every
/// 4th row (8th column) where the operand is contiguous along the depth, runs of 4 where it is contiguous along the
/// rows. It reads 8 bytes along the depth or 16 along the rows at once, those of a half-warp (quarter-warp) from
/// different banks. A result is summed in the order of the depth. (nvcc makes fmaf of a product and a sum; on a host
/// without that instruction fmaf is a call.)
template <typename Shape, typename TileA, typename TileB>
class FusedMultiplyAdd {
 public:
  /// Passes through shared memory to read both pieces, for each unit of their depth: a row or column of all lanes at
  /// two depths in each.
  static constexpr double kWavefronts = Shape::kWarpsM * Shape::kWarpsN * (Shape::kWarpM / 4 + Shape::kWarpN / 8) / 2.0;

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    gpu::count_flops(uint64_t{2} * kRows * kColumns * Shape::kK);
    // Unrolled, the next rounds' loads would be moved up here and take more registers than there are.
    STRIATE_UNROLL_BY(1)
    for (int k = 0; k < Shape::kK; k += 2) {
      float rows[kRows][2];
      STRIATE_UNROLL
      for (int i = 0; i < kRows; i += kStepA) load(rows, i, a, k);
      if constexpr (TileB::kDepthContiguous) {
        STRIATE_UNROLL
        for (int j = 0; j < kColumns; ++j) {
          const float2 v = gpu::load_8(b + TileB::at(column(j), k));
          STRIATE_UNROLL
          for (int i = 0; i < kRows; ++i) {
            sums_[i][j] += rows[i][0] * v.x;
            sums_[i][j] += rows[i][1] * v.y;
          }
        }
      } else {
        STRIATE_UNROLL
        for (int depth = 0; depth < 2; ++depth) {
          STRIATE_UNROLL
          for (int j = 0; j < kColumns; j += 4) {
            const float4 v = gpu::load_16(b + TileB::at(column(j), k + depth));
            STRIATE_UNROLL
            for (int i = 0; i < kRows; ++i) {
              sums_[i][j] += rows[i][depth] * v.x;
              sums_[i][j + 1] += rows[i][depth] * v.y;
              sums_[i][j + 2] += rows[i][depth] * v.z;
              sums_[i][j + 3] += rows[i][depth] * v.w;
            }
          }
        }
      }
    }
  }

  template <typename Out>
  __device__ __forceinline__ void store(const Out& out, int first_row, int first_column) const {
    float bias[kColumns];
    STRIATE_UNROLL
    for (int j = 0; j < kColumns; ++j) bias[j] = out.bias_of(first_column + column(j));
    // Four lanes share a quad of columns, or each has its own.
    constexpr int kRun = TileB::kDepthContiguous ? 1 : 4;
    const auto kept = out.template kept_results<kRows * kColumns, kRun>([&](int group, int quad) {
      const int j = group % (kColumns / 4) * 4 + quad;
      return make_int2(first_row + row(group / (kColumns / 4)),
                       first_column + column(j) - (kRun == 1 ? lane() % 4 : 0));
    });
    STRIATE_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const int m = first_row + row(i);
      if (m >= out.rows) continue;
      const auto to = out.row(m);
      STRIATE_UNROLL
      for (int j = 0; j < kColumns; j += kStepB) {
        const auto value = [&](int l) { return out.finish(sums_[i][j + l], bias[j + l], kept[i * kColumns + j + l]); };
        if constexpr (TileB::kDepthContiguous) {
          out.store(to, first_column + column(j), value(0));
        } else {
          out.store_quad(to, first_column + column(j), make_float4(value(0), value(1), value(2), value(3)));
        }
      }
    }
  }

 private:
  static constexpr int kRows = Shape::kWarpM / 4, kColumns = Shape::kWarpN / 8;
  static constexpr int kStepA = TileA::kDepthContiguous ? 1 : 4, kStepB = TileB::kDepthContiguous ? 1 : 4;
  static_assert(kRows % 4 == 0 && kColumns % 4 == 0);

  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ __forceinline__ static int row(int i) {
    const int of_lane = lane() / 8;
    return warp() / Shape::kWarpsN * Shape::kWarpM +
           (TileA::kDepthContiguous ? of_lane + 4 * i : i / 4 * 16 + of_lane * 4 + i % 4);
  }
  __device__ __forceinline__ static int column(int j) {
    const int of_lane = lane() % 8;
    return warp() % Shape::kWarpsN * Shape::kWarpN +
           (TileB::kDepthContiguous ? of_lane + 8 * j : j / 4 * 32 + of_lane * 4 + j % 4);
  }

  /// Depths k and k + 1 of row i, or of rows i … i + 3.
  __device__ __forceinline__ static void load(float (&rows)[kRows][2], int i, const float* tile, int k) {
    if constexpr (TileA::kDepthContiguous) {
      const float2 v = gpu::load_8(tile + TileA::at(row(i), k));
      rows[i][0] = v.x, rows[i][1] = v.y;
    } else {
      STRIATE_UNROLL
      for (int depth = 0; depth < 2; ++depth) {
        const float4 v = gpu::load_16(tile + TileA::at(row(i), k + depth));
        rows[i][depth] = v.x, rows[i + 1][depth] = v.y, rows[i + 2][depth] = v.z, rows[i + 3][depth] = v.w;
      }
    }
  }

  float sums_[kRows][kColumns] = {};
};

}  // namespace striate::tile
