#pragma once

#include <type_traits>

#include "kernels/context.h"
#include "kernels/gemm/tile_copy.h"
#include "kernels/gemm/tile_fma.h"
#include "kernels/gemm/tile_mma.h"

// Matrix products c(m, n) = Σ_k a(m, k)·b(n, k) by tiles: what conv2d and linear share on CUDA.
//
//            kN                     A block computes kM × kN results. Pieces of A (kM × kK) and B (kN × kK) travel to
//         ┌──────┐ B ⋯ kK          shared memory by cp.async, kStages − 1 of them ahead of the one that is multiplied.
//    kK   ├──────┤                 Where an element comes from is the operand's affair (tile_copy.h): a matrix, or the
//   ┌───┬─┼──┬───┤                 pixels under a filter's tap, read in place (implicit GEMM, Chetlur et al. 2014,
// kM│ A │ │w0│w1 │  a warp's       "cuDNN: Efficient Primitives for Deep Learning"); what lies outside is filled with
//   │   │ ├──┼───┤  results        zeros by cp.async itself. Warps hold their results in registers: float32 one by one
//   └───┴─┤w2│w3 │                 (tile_fma.h), or tf32 and bf16 on the tensor cores (tile_mma.h), and store them
//         └──┴───┘                 from there with bias and activation (tile_store.h).
//
// The grid: x counts tiles, those of one row of tiles first, so that blocks which run together read the same part of
// A; y the shares of the depth (each a result of its own, summed by split_sum.h in the order of the shares); z groups.
// Bound by the products where both sides are some hundred wide, by reading B once where there are few rows.
// A result's sum has one order, whatever else runs: the same bits every time.
namespace striate::tile {

/// The part of a product that a launch's blocks divide among themselves.
struct Division {
  int column_tiles = 1;
  int steps = 0;            ///< pieces of the depth, kK each
  int steps_per_share = 0;  ///< of those for each blockIdx.y
};

template <typename Shape, Precision kPrecision, typename TileA, typename TileB>
using Products =
    std::conditional_t<kPrecision == Precision::fp32, FusedMultiplyAdd<Shape, TileA, TileB>,
                       TensorCore<Shape, TileA, TileB, kPrecision == Precision::fp32 ? Precision::tf32 : kPrecision>>;

template <typename Shape, int kWidthA, int kWidthB, typename A, typename B>
struct Copiers {
  using OfA = Copier<A, Shape::kM, Shape::kK, kWidthA, Shape::kThreads, A::kDepthContiguous>;
  using OfB = Copier<B, Shape::kN, Shape::kK, kWidthB, Shape::kThreads, B::kDepthContiguous>;
  static constexpr int kStageFloats = OfA::Tile::kFloats + OfB::Tile::kFloats;
  static constexpr int kSharedBytes = Shape::kStages * kStageFloats * 4 + (OfA::kPlaces + OfB::kPlaces) * 8;
  /// Passes through shared memory to write both pieces and to read the places of their rows (8 bytes a copy), for each
  /// unit of their depth.
  static constexpr double kWavefronts =
      (Shape::kM + Shape::kN + 2.0 * OfA::kPlaces / kWidthA + 2.0 * OfB::kPlaces / kWidthB) / 32.0;
  // On the chip that the tiles are made for (164 KiB a multiprocessor, 1 of each block's the system's).
  static_assert(Shape::kBlocks * (kSharedBytes + 1024) <= 164 * 1024, "fewer blocks fit than the shape promises");
};

template <typename Shape, Precision kPrecision, int kWidthA, int kWidthB, typename A, typename B>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    product_kernel(A a, B b, Output out, Division division) {
  using Both = Copiers<Shape, kWidthA, kWidthB, A, B>;
  using TileA = typename Both::OfA::Tile;
  using TileB = typename Both::OfB::Tile;
  constexpr int kAhead = Shape::kStages - 1;

  float* const stages = gpu::dynamic_shared<float>();
  int2* const places = reinterpret_cast<int2*>(stages + Shape::kStages * Both::kStageFloats);
  const int tile = static_cast<int>(blockIdx.x);
  const int first_row = tile / division.column_tiles * Shape::kM;
  const int first_column = tile % division.column_tiles * Shape::kN;
  const int first_step = static_cast<int>(blockIdx.y) * division.steps_per_share;
  const int steps = min(division.steps - first_step, division.steps_per_share);
  a.enter_group(static_cast<int>(blockIdx.z));
  b.enter_group(static_cast<int>(blockIdx.z));
  out.enter(static_cast<int>(blockIdx.z), static_cast<int>(blockIdx.y));

  const typename Both::OfA copy_a(a, first_row, places);
  const typename Both::OfB copy_b(b, first_column, places + Both::OfA::kPlaces);
  if constexpr (Both::OfA::kPlaces + Both::OfB::kPlaces > 0) __syncthreads();
  const auto issue = [&](int step, int stage) {
    if (step < steps) {
      float* const to = stages + stage * Both::kStageFloats;
      copy_a.issue(to, (first_step + step) * Shape::kK);
      copy_b.issue(to + TileA::kFloats, (first_step + step) * Shape::kK);
    }
    // An empty group too, so that the newest kAhead − 1 groups are always those of the steps to come.
    gpu::cp_async_commit();
  };

  STRIATE_UNROLL
  for (int step = 0; step < kAhead; ++step) issue(step, step);
  Products<Shape, kPrecision, TileA, TileB> products;
  int stage = 0, free_stage = kAhead;
  for (int step = 0; step < steps; ++step) {
    gpu::cp_async_wait<kAhead - 1>();
    // Every thread's copies of this step have arrived, and nobody reads the stage of the step before any more.
    __syncthreads();
    issue(step + kAhead, free_stage);
    const float* const from = stages + stage * Both::kStageFloats;
    products.multiply(from, from + TileA::kFloats);
    free_stage = stage;
    stage = stage + 1 < Shape::kStages ? stage + 1 : 0;
  }
  gpu::cp_async_wait<0>();
  products.store(out, first_row, first_column);
}

}  // namespace striate::tile
