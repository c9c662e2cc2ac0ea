#pragma once

#include <type_traits>

#include "kernels/gemm/tile_shape.h"
#include "kernels/gemm/tile_store.h"
#include "kernels/gpu/convert.h"
#include "kernels/gpu/vector.h"

// Sums of A's rows along the depth, beside the products: a bias's gradient, out of the pieces of dy that are in shared
// memory for the weights' gradient anyway. The blocks of a launch's first column of tiles do it.
namespace striate::tile {

/// A gradient of weights, and in row_sums[g·rows + m], where that is not null, the sum of A's row m of group g:
/// likewise overwritten or added to.
struct OutputWithRowSums : Output<float> {
  float* row_sums = nullptr;

  __device__ __forceinline__ void enter(int g, int s) {
    Output<float>::enter(g, s);
    // Those of shares follow each other.
    if (row_sums) row_sums += (s * static_cast<int>(gridDim.z) + g) * rows;
  }
};

template <typename Out>
inline constexpr bool kSumsRows = std::is_base_of_v<OutputWithRowSums, Out>;

/// A block's sums in float32, of a tile of A that is contiguous along its rows. A thread takes 4 bytes, one row or two
/// of bfloat16, of every kLines-th depth, in their order; then the kLines sums of a row are added, in theirs.
template <typename Shape, typename Tile, typename T>
class RowSums {
 public:
  __device__ __forceinline__ explicit RowSums(bool wanted) : wanted_(wanted) {}

  /// Of another kK depths.
  __device__ __forceinline__ void add(const T* tile) {
    if (!wanted_) return;
    // The registers are the products'.
    STRIATE_UNROLL_BY(4)
    for (int k = line(); k < Shape::kK; k += kLines) {
      if constexpr (std::is_same_v<T, float>) {
        sums_[0] += tile[Tile::at(row(), k)];
      } else {
        const auto pair = gpu::load_4<uint32_t>(tile + Tile::at(row(), k));
        sums_[0] += __uint_as_float(pair << 16);
        sums_[1] += __uint_as_float(pair & 0xFFFF0000u);
      }
    }
  }

  /// After the last of the products: `stages` are overwritten.
  __device__ __forceinline__ void store(const OutputWithRowSums& out, int first_row, T* stages) const {
    if (!wanted_) return;
    float* const of_line = reinterpret_cast<float*>(stages);  // [line][row]
    __syncthreads();
    float* const to = of_line + line() * Shape::kM + row();
    if constexpr (kRows == 1) {
      *to = sums_[0];
    } else {
      gpu::store_8(to, make_float2(sums_[0], sums_[1]));
    }
    __syncthreads();
    const int m = static_cast<int>(threadIdx.x);
    if (m >= Shape::kM || first_row + m >= out.rows) return;
    float sum = of_line[m];
    STRIATE_UNROLL
    for (int l = 1; l < kLines; ++l) sum += of_line[l * Shape::kM + m];
    float& result = out.row_sums[first_row + m];
    result = out.accumulate ? result + sum : sum;
  }

 private:
  static constexpr int kRows = 4 / static_cast<int>(sizeof(T));
  static constexpr int kAcross = Shape::kM / kRows, kLines = Shape::kThreads / kAcross;
  static_assert(!Tile::kDepthContiguous && Shape::kThreads >= Shape::kM);
  static_assert(Shape::kThreads % kAcross == 0 && Shape::kK % kLines == 0);
  static_assert(kLines * Shape::kM * sizeof(float) <= Tile::kBytes);

  __device__ __forceinline__ static int row() { return static_cast<int>(threadIdx.x) % kAcross * kRows; }
  __device__ __forceinline__ static int line() { return static_cast<int>(threadIdx.x) / kAcross; }

  const bool wanted_;
  float sums_[kRows] = {};
};

/// Of products that nobody wants them of.
struct NoRowSums {
  template <typename T>
  __device__ __forceinline__ void add(const T*) {}
};

}  // namespace striate::tile
