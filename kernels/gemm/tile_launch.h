#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/gemm/split_sum.h"
#include "kernels/gemm/tile.h"
#include "kernels/gemm/tile_choice.h"
#include "kernels/gpu/floats.h"
#include "kernels/gpu/launch.h"

namespace striate::tile {

/// The tiles that a product may be computed with.
template <typename... Shapes>
struct ShapeList {};

// Registers bound them: a warp's 64 × 64 results are 128 a thread. The depth of a piece is a trade between barriers and
// shared memory, and at least 64 bytes, so that copies along it are whole sectors.
using FmaShapes = ShapeList<Shape<128, 128, 16, 4, 2, 3, 2>, Shape<64, 64, 16, 2, 2, 3, 4>>;
using MmaShapes =
    ShapeList<Shape<256, 128, 32, 4, 2, 3, 1>, Shape<128, 128, 16, 2, 2, 4, 2>, Shape<64, 64, 32, 2, 2, 3, 3>>;
// A single one where runs are odd: 4-byte copies bound it more than its shape does. 32 deep, so that a warp's copy is
// one run of a row: fewer of its sectors are touched in part.
using FmaOddShapes = ShapeList<Shape<64, 64, 32, 2, 2, 3, 3>>;
using MmaOddShapes = ShapeList<Shape<64, 64, 32, 2, 2, 3, 3>>;

template <Precision kPrecision, int kWidthA, int kWidthB, typename Shape, typename A, typename B>
void launch_shape(const A& a, const B& b, const Output& out, int64_t depth, int groups, int shares, Context& context) {
  using Both = Copiers<Shape, kWidthA, kWidthB, A, B>;
  const auto divide_up = [](int64_t x, int64_t y) { return static_cast<int>((x + y - 1) / y); };
  Division division;
  division.column_tiles = divide_up(out.columns, Shape::kN);
  division.steps = divide_up(depth, Shape::kK);
  division.steps_per_share = divide_up(division.steps, shares);
  const dim3 grid(static_cast<unsigned>(divide_up(out.rows, Shape::kM) * division.column_tiles),
                  static_cast<unsigned>(shares), static_cast<unsigned>(groups));
  Output to = out;
  if (shares > 1) {
    // The shares' results lie densely, [shares, groups, rows, columns], as they are.
    to = Output{};
    to.data = context.workspace->get<float>(int64_t{shares} * groups * out.rows * out.columns);
    to.rows = out.rows, to.columns = out.columns;
    to.image_pitch = out.columns;
    to.group = int64_t{out.rows} * out.columns;
    to.share = to.group * groups;
    to.pairs = out.columns % 2 == 0;
    to.quads = out.columns % 4 == 0;
  }
  gpu::launch(product_kernel<Shape, kPrecision, kWidthA, kWidthB, A, B>, grid, dim3(Shape::kThreads),
              Both::kSharedBytes, *context.stream, a, b, to, division);
  if (shares > 1) {
    sum_shares(to.data, shares, groups, out, *context.stream);
  }
}

template <Precision kPrecision, int kWidthA, int kWidthB, typename A, typename B, typename... Shapes>
void multiply_with(ShapeList<Shapes...>, const A& a, const B& b, const Output& out, int64_t depth, int groups,
                   Context& context) {
  constexpr std::array<TileShape, sizeof...(Shapes)> tiles{TileShape{
      Shapes::kM, Shapes::kN, Shapes::kK, Shapes::kBlocks, Copiers<Shapes, kWidthA, kWidthB, A, B>::kSharedBytes}...};
  const Choice choice = choose(tiles, {out.rows, out.columns, depth, groups}, kPrecision);
  size_t number = 0;
  ((number++ == choice.tile
        ? launch_shape<kPrecision, kWidthA, kWidthB, Shapes>(a, b, out, depth, groups, choice.shares, context)
        : void()),
   ...);
}

/// out = a·bᵀ for `groups` products of the given depth in the context's precision. `Fma` and `Mma` are the tiles for
/// exact float32 and for the tensor cores.
template <int kWidthA, int kWidthB, typename Fma, typename Mma, typename A, typename B>
void multiply(const A& a, const B& b, const Output& out, int64_t depth, int groups, Context& context) {
  switch (context.precision) {
    case Precision::fp32:
      multiply_with<Precision::fp32, kWidthA, kWidthB>(Fma{}, a, b, out, depth, groups, context);
      break;
    case Precision::tf32:
      multiply_with<Precision::tf32, kWidthA, kWidthB>(Mma{}, a, b, out, depth, groups, context);
      break;
    case Precision::bf16:
      multiply_with<Precision::bf16, kWidthA, kWidthB>(Mma{}, a, b, out, depth, groups, context);
      break;
  }
}

/// Whether runs of `floats` floats from p on all begin at multiples of 16 bytes.
inline bool in_quads(const float* p, int64_t floats) {
  return gpu::in_quads(floats, {p});
}

/// A plain matrix [rows, columns] as output.
inline Output matrix_output(float* c, int64_t rows, int64_t columns) {
  Output out;
  out.data = c;
  out.rows = static_cast<int>(rows), out.columns = static_cast<int>(columns);
  out.image_pitch = static_cast<int>(columns);
  out.pairs = columns % 2 == 0 && reinterpret_cast<uintptr_t>(c) % 8 == 0;
  out.quads = in_quads(c, columns);
  return out;
}

}  // namespace striate::tile
