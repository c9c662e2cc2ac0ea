#pragma once

#include <type_traits>

#include "kernels/context.h"
#include "kernels/gemm/tile_copy.h"
#include "kernels/gemm/tile_fma.h"
#include "kernels/gemm/tile_mma_bf16.h"
#include "kernels/gemm/tile_row_sums.h"

// Matrix products c(m, n) = Σ_k a(m, k)·b(n, k) by tiles: what conv2d and linear share on CUDA.
//
//            kN                     A block computes kM × kN results. Pieces of A (kM × kK) and B (kN × kK) travel to
//         ┌──────┐ B ⋯ kK          shared memory by cp.async, kStages − 1 of them ahead of the one that is multiplied.
//    kK   ├──────┤                 Where an element comes from is the operand's affair (tile_copy.h): a matrix, or the
//   ┌───┬─┼──┬───┤                 pixels under a filter's tap, read in place (implicit GEMM, Chetlur et al. 2014,
// kM│ A │ │w0│w1 │  a warp's       "cuDNN: Efficient Primitives for Deep Learning"); what lies outside is filled with
//   │   │ ├──┼───┤  results        zeros by cp.async itself. Warps hold their results in registers: float32 one by one
//   └───┴─┤w2│w3 │                 (tile_fma.h), or on the tensor cores (tile_mma.h for float32 that is rounded to tf32
//         └──┴───┘                 as it is read, tile_mma_bf16.h for bfloat16), and store them from there with bias
//         and
//                                  activation (tile_store.h).
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

/// The pieces of a product as they lie in memory: copied by cp.async, multiplied as they are or, float32 for tensor
/// cores, rounded as fragments are read.
template <typename Shape, Precision kPrecision, int kWidthA, int kWidthB, typename A, typename B>
struct Pieces {
  using Element = typename A::Value;
  static_assert(std::is_same_v<Element, typename B::Value>);
  static_assert(std::is_same_v<Element, bfloat16> == (kPrecision == Precision::bf16), "floats are not rounded to bf16");
  using OfA = Copier<A, Shape::kM, Shape::kK, kWidthA, Shape::kThreads, A::kDepthContiguous>;
  using OfB = Copier<B, Shape::kN, Shape::kK, kWidthB, Shape::kThreads, B::kDepthContiguous>;
  using TileA = typename OfA::Tile;
  using TileB = typename OfB::Tile;
  using OfFloats = std::conditional_t<kPrecision == Precision::fp32, FusedMultiplyAdd<Shape, TileA, TileB>,
                                      TensorCore<Shape, TileA, TileB>>;
  using Products = std::conditional_t<std::is_same_v<Element, float>, OfFloats, Bf16TensorCore<Shape, TileA, TileB>>;
  static constexpr int kPlaces = OfA::kPlaces + OfB::kPlaces;
  static constexpr int kStageBytes = TileA::kBytes + TileB::kBytes;
  static constexpr int kValuesOfA = TileA::kBytes / static_cast<int>(sizeof(Element));
  static constexpr int kStageValues = kStageBytes / static_cast<int>(sizeof(Element));
  static constexpr int kSharedBytes = Shape::kStages * kStageBytes + kPlaces * 8;
  /// Passes through shared memory to write both pieces, to read the places of their rows (8 bytes a copy) and to read
  /// the pieces, for each unit of their depth.
  static constexpr double kWavefronts =
      ((Shape::kM + Shape::kN) * sizeof(Element) / 4.0 + 2.0 * OfA::kPlaces / kWidthA + 2.0 * OfB::kPlaces / kWidthB) /
          32.0 +
      Products::kWavefronts;
  // On the chip that the tiles are made for (164 KiB a multiprocessor, 1 of each block's the system's).
  static_assert(Shape::kBlocks * (kSharedBytes + 1024) <= 164 * 1024, "fewer blocks fit than the shape promises");
};

/// Stages are filled kStages − 1 steps before they are multiplied.
template <typename Shape, typename Both, typename Sums>
__device__ __forceinline__ void multiply_steps(typename Both::Products& products, Sums& row_sums,
                                               const typename Both::OfA& copy_a, const typename Both::OfB& copy_b,
                                               typename Both::Element* stages, int first_step, int steps) {
  constexpr int kAhead = Shape::kStages - 1;
  typename Both::OfA::Copies copies_a;
  typename Both::OfB::Copies copies_b;
  const auto begin = [&](int step, int stage) {
    if (step < steps) {
      auto* const to = stages + stage * Both::kStageValues;
      copy_a.begin(copies_a, to, (first_step + step) * Shape::kK);
      copy_b.begin(copies_b, to + Both::kValuesOfA, (first_step + step) * Shape::kK);
    }
    // An empty group too, so that the newest kAhead − 1 groups are always those of the steps to come.
    gpu::cp_async_commit();
  };
  const auto finish = [&](int step, int stage) {
    [[maybe_unused]] auto* const to = stages + stage * Both::kStageValues;
    if constexpr (Both::OfA::Copies::kHeld) {
      if (step < steps) copy_a.finish(copies_a, to);
    }
    if constexpr (Both::OfB::Copies::kHeld) {
      if (step < steps) copy_b.finish(copies_b, to + Both::kValuesOfA);
    }
  };

  STRIATE_UNROLL
  for (int step = 0; step < kAhead; ++step) {
    begin(step, step);
    finish(step, step);
  }
  int stage = 0, free_stage = kAhead;
  for (int step = 0; step < steps; ++step) {
    gpu::cp_async_wait<kAhead - 1>();
    // Every thread's copies of this step have arrived, and nobody reads the stage of the step before any more.
    __syncthreads();
    begin(step + kAhead, free_stage);
    const auto* const from = stages + stage * Both::kStageValues;
    row_sums.add(from);
    products.multiply(from, from + Both::kValuesOfA);
    finish(step + kAhead, free_stage);
    free_stage = stage;
    stage = stage + 1 < Shape::kStages ? stage + 1 : 0;
  }
  gpu::cp_async_wait<0>();
}

/// Of bfloat16 results, those of a share of the depth go to `shares` as float32.
template <typename Shape, Precision kPrecision, int kWidthA, int kWidthB, typename A, typename B, typename Out>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    product_kernel(A a, B b, Out out, Output<float> shares, Division division) {
  using Both = Pieces<Shape, kPrecision, kWidthA, kWidthB, A, B>;
  using Element = typename Both::Element;

  Element* const stages = gpu::dynamic_shared<Element>();
  int2* const places = reinterpret_cast<int2*>(stages + Shape::kStages * Both::kStageValues);
  const int tile = static_cast<int>(blockIdx.x);
  const int first_row = tile / division.column_tiles * Shape::kM;
  const int first_column = tile % division.column_tiles * Shape::kN;
  const int first_step = static_cast<int>(blockIdx.y) * division.steps_per_share;
  const int steps = min(division.steps - first_step, division.steps_per_share);
  const int group = static_cast<int>(blockIdx.z), share = static_cast<int>(blockIdx.y);
  a.enter_group(group);
  b.enter_group(group);

  const typename Both::OfA copy_a(a, first_row, places);
  const typename Both::OfB copy_b(b, first_column, places + Both::OfA::kPlaces);
  if constexpr (Both::kPlaces > 0) __syncthreads();
  typename Both::Products products;
  if constexpr (kSumsRows<Out>) {
    RowSums<Shape, typename Both::TileA, Element> row_sums(out.row_sums && first_column == 0);
    multiply_steps<Shape, Both>(products, row_sums, copy_a, copy_b, stages, first_step, steps);
    out.enter(group, share);
    row_sums.store(out, first_row, stages);
  } else {
    NoRowSums none;
    multiply_steps<Shape, Both>(products, none, copy_a, copy_b, stages, first_step, steps);
    if constexpr (Out::kBfloat16) {
      if (shares.data) {
        shares.enter(group, share);
        products.store(shares, first_row, first_column);
        return;
      }
    }
    out.enter(group, share);
  }
  products.store(out, first_row, first_column);
}

}  // namespace striate::tile
