#pragma once

#include "kernels/context.h"
#include "kernels/gemm/tile_shape.h"
#include "kernels/gemm/tile_store.h"
#include "kernels/gpu/convert.h"
#include "kernels/gpu/matrix.h"
#include "kernels/gpu/warp.h"

namespace striate::tile {

/// The 16 × 8 fragments of a warp's results: where they stand in a block's tile, and how they are stored.
template <typename Shape>
struct WarpResults {
  static constexpr int kFragmentsM = Shape::kWarpM / 16, kFragmentsN = Shape::kWarpN / 8;
  static_assert(kFragmentsN % 2 == 0);

  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ __forceinline__ static int row() {
    return static_cast<int>(threadIdx.x) / 32 / Shape::kWarpsN * Shape::kWarpM;
  }
  __device__ __forceinline__ static int column() {
    return static_cast<int>(threadIdx.x) / 32 % Shape::kWarpsN * Shape::kWarpN;
  }

  template <typename Out>
  __device__ __forceinline__ static void store(const float (&sums)[kFragmentsM][kFragmentsN][4], const Out& out,
                                               int first_row, int first_column) {
    const int m0 = first_row + row() + lane() / 4, n0 = first_column + column() + lane() % 4 * 2;
    float2 bias[kFragmentsN];
    STRIATE_UNROLL
    for (int j = 0; j < kFragmentsN; ++j) bias[j] = make_float2(out.bias_of(n0 + 8 * j), out.bias_of(n0 + 8 * j + 1));
    // Two lanes share a quad of columns.
    const auto kept = out.template kept_results<4 * kFragmentsM * kFragmentsN, 2>([&](int group, int quad) {
      const int rows = group / (kFragmentsN / 2), j = group % (kFragmentsN / 2) * 2 + quad;
      return make_int2(m0 + 8 * rows, first_column + column() + 8 * j + lane() % 4 / 2 * 4);
    });
    STRIATE_UNROLL
    for (int i = 0; i < kFragmentsM; ++i) {
      STRIATE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int m = m0 + 16 * i + 8 * half;
        const auto value = [&](int j) {
          const float* const v = sums[i][j] + 2 * half;
          const int result = ((2 * i + half) * kFragmentsN + j) * 2;
          return make_float2(out.finish(v[0], bias[j].x, kept[result]), out.finish(v[1], bias[j].y, kept[result + 1]));
        };
        const auto to = out.row(m);
        if constexpr (!Out::kBfloat16) {
          if (m >= out.rows) continue;
          STRIATE_UNROLL
          for (int j = 0; j < kFragmentsN; ++j) out.store_pair(to, n0 + 8 * j, value(j));
        } else {
          // Four lanes hold 16 bytes of a row of each of two fragments. Neighbours exchange pairs, so that each stores
          // 8 bytes and the four of them a whole sector.
          const bool odd = lane() % 2 != 0;
          uint2 quads[kFragmentsN / 2];
          STRIATE_UNROLL
          for (int j = 0; j < kFragmentsN; j += 2) {
            const uint32_t left = rounded(value(j)), right = rounded(value(j + 1));
            const uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, odd ? left : right, 1);
            quads[j / 2] = odd ? make_uint2(other, right) : make_uint2(left, other);
          }
          if (m >= out.rows) continue;
          STRIATE_UNROLL
          for (int j = 0; j < kFragmentsN; j += 2) out.store_rounded(to, n0 + 8 * j + (odd ? 6 : 0), quads[j / 2]);
        }
      }
    }
  }

 private:
  __device__ __forceinline__ static uint32_t rounded(float2 v) { return gpu::to_bf16x2(v.y, v.x); }
};

/// Products on the tensor cores: float32 in shared memory, rounded to tf32 as fragments are read, summed in float32.
template <typename Shape, typename TileA, typename TileB>
class TensorCore {
 public:
  /// Passes through shared memory to read both pieces, for each unit of their depth.
  static constexpr double kWavefronts = (Shape::kM * Shape::kWarpsN + Shape::kN * Shape::kWarpsM) / 32.0;

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    // The next fragments are on their way while these are multiplied.
    uint32_t rows[2][kFragmentsM][4], columns[2][kFragmentsN][2];
    load(rows[0], columns[0], a, b, 0);
    STRIATE_UNROLL
    for (int step = 0; step < Shape::kK / 8; ++step) {
      if (step + 1 < Shape::kK / 8) load(rows[(step + 1) & 1], columns[(step + 1) & 1], a, b, 8 * (step + 1));
      auto& now_a = rows[step & 1];
      auto& now_b = columns[step & 1];
      STRIATE_UNROLL
      for (int i = 0; i < kFragmentsM; ++i) {
        STRIATE_UNROLL
        for (int w = 0; w < 4; ++w) now_a[i][w] = gpu::to_tf32(__uint_as_float(now_a[i][w]));
      }
      STRIATE_UNROLL
      for (int j = 0; j < kFragmentsN; ++j) {
        STRIATE_UNROLL
        for (int w = 0; w < 2; ++w) now_b[j][w] = gpu::to_tf32(__uint_as_float(now_b[j][w]));
      }
      gpu::mma_m16n8k8_tf32(sums_, now_a, now_b);
    }
  }

  template <typename Out>
  __device__ __forceinline__ void store(const Out& out, int first_row, int first_column) const {
    Warp::store(sums_, out, first_row, first_column);
  }

 private:
  using Warp = WarpResults<Shape>;
  static constexpr int kFragmentsM = Warp::kFragmentsM, kFragmentsN = Warp::kFragmentsN;

  /// The floats of depth k … k + 7 as fragments: with g = lane / 4, t = lane % 4 of A (g, t), (g + 8, t), (g, t + 4),
  /// (g + 8, t + 4), of B (g, t), (g, t + 4).
  __device__ __forceinline__ static void load(uint32_t (&rows)[kFragmentsM][4], uint32_t (&columns)[kFragmentsN][2],
                                              const float* a, const float* b, int k) {
    const int l = Warp::lane(), g = l / 4, t = l % 4;
    if constexpr (TileA::kDepthContiguous) {
      // Matrices: rows 0–7 and 8–15 of the first chunk, then of the second.
      const void* lines[kFragmentsM];
      STRIATE_UNROLL
      for (int i = 0; i < kFragmentsM; ++i) lines[i] = a + TileA::chunk(Warp::row() + 16 * i + l % 16, k / 4 + l / 16);
      gpu::ldmatrix_x4(rows, lines);
    } else {
      STRIATE_UNROLL
      for (int i = 0; i < kFragmentsM; ++i) {
        STRIATE_UNROLL
        for (int w = 0; w < 4; ++w) {
          rows[i][w] = __float_as_uint(a[TileA::at(Warp::row() + 16 * i + g + w % 2 * 8, k + t + w / 2 * 4)]);
        }
      }
    }
    if constexpr (TileB::kDepthContiguous) {
      // Matrices: the two chunks of columns 0–7, then of 8–15.
      const void* lines[kFragmentsN / 2];
      STRIATE_UNROLL
      for (int j = 0; j < kFragmentsN / 2; ++j) {
        lines[j] = b + TileB::chunk(Warp::column() + 16 * j + l / 16 * 8 + l % 8, k / 4 + l / 8 % 2);
      }
      gpu::ldmatrix_x4(columns, lines);
    } else {
      STRIATE_UNROLL
      for (int j = 0; j < kFragmentsN; ++j) {
        STRIATE_UNROLL
        for (int w = 0; w < 2; ++w) {
          columns[j][w] = __float_as_uint(b[TileB::at(Warp::column() + 8 * j + g, k + t + w * 4)]);
        }
      }
    }
  }

  float sums_[kFragmentsM][kFragmentsN][4] = {};
};

}  // namespace striate::tile
