#pragma once

#include <algorithm>
#include <array>
#include <type_traits>
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
// shared memory, and at least 64 bytes where copies run along it, so that they are whole sectors. Tiles of 224 rows
// leave less of a last wave empty than those of 256 where images are 13 × 13; those of 64 columns (or rows, for the
// weights' gradients) waste nothing of 64 and 192 channels. A single one where runs are odd: 4-byte copies bound it
// more than its shape does. 32 deep, so that a warp's copy is one run of a row: fewer of its sectors are touched in
// part.

/// For products with an operand that is contiguous along the depth.
struct Tiles {
  using Fma = ShapeList<Shape<128, 128, 16, 4, 2, 3, 2>, Shape<64, 64, 16, 2, 2, 3, 4>>;
  using Mma = ShapeList<Shape<224, 128, 32, 2, 4, 3, 1>, Shape<128, 128, 16, 2, 2, 4, 2>,
                        Shape<128, 64, 16, 2, 1, 3, 4>, Shape<64, 64, 32, 2, 2, 3, 3>>;
  using Bf16 =
      ShapeList<Shape<224, 128, 32, 2, 4, 2, 1>, Shape<128, 128, 32, 2, 4, 2, 1>, Shape<64, 64, 32, 2, 2, 2, 4>>;
  using OddFma = ShapeList<Shape<64, 64, 32, 2, 2, 3, 3>>;
  using OddMma = OddFma;
};

/// For windows against filters: also a tile of 192 columns.
struct ForwardTiles : Tiles {
  using Bf16 = ShapeList<Shape<224, 128, 32, 2, 4, 2, 1>, Shape<128, 192, 32, 2, 4, 2, 1>,
                         Shape<128, 128, 32, 2, 4, 2, 1>, Shape<64, 64, 32, 2, 2, 2, 4>>;
};

/// For weights' gradients: both operands are contiguous along the result's rows and columns.
struct GradientTiles {
  using Fma = Tiles::Fma;
  using Mma = ShapeList<Shape<256, 128, 32, 4, 2, 3, 1>, Shape<128, 128, 16, 2, 2, 4, 2>,
                        Shape<64, 128, 16, 1, 2, 3, 4>, Shape<64, 64, 16, 2, 2, 4, 4>>;
  using Bf16 =
      ShapeList<Shape<256, 128, 32, 4, 2, 2, 1>, Shape<128, 128, 32, 2, 4, 2, 1>, Shape<64, 64, 32, 2, 2, 2, 4>>;
  using OddFma = ShapeList<Shape<64, 64, 16, 2, 2, 3, 4>>;
  using OddMma = ShapeList<Shape<64, 64, 16, 2, 2, 4, 4>>;
};

/// For windows of quads that meet filters of odd rows.
struct RunTiles {
  using OddFma = ShapeList<Shape<128, 64, 16, 4, 1, 3, 4>>;
  using OddMma = ShapeList<Shape<256, 64, 16, 4, 1, 3, 2>>;
  using Fma = OddFma;
  using Mma = OddMma;
  using Bf16 = OddMma;
};

template <Precision kPrecision, int kWidthA, int kWidthB, typename Shape, typename A, typename B>
void launch_shape(const A& a, const B& b, const Output& out, int64_t depth, int groups, int shares, Context& context) {
  using Both = Pieces<Shape, kPrecision, kWidthA, kWidthB, A, B>;
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

template <typename Shape, typename Both>
constexpr TileShape tile_shape() {
  return {Shape::kM, Shape::kN, Shape::kK, Shape::kBlocks, Both::kSharedBytes, Both::kWavefronts};
}

template <Precision kPrecision, int kWidthA, int kWidthB, typename A, typename B, typename... Shapes>
void multiply_with(ShapeList<Shapes...>, const A& a, const B& b, const Output& out, int64_t depth, int groups,
                   Context& context) {
  constexpr std::array<TileShape, sizeof...(Shapes)> tiles{
      tile_shape<Shapes, Pieces<Shapes, kPrecision, kWidthA, kWidthB, A, B>>()...};
  const Choice choice =
      choose(tiles, {out.rows, out.columns, depth, groups, (a.floats() + b.floats()) * groups}, kPrecision);
  size_t number = 0;
  ((number++ == choice.tile
        ? launch_shape<kPrecision, kWidthA, kWidthB, Shapes>(a, b, out, depth, groups, choice.shares, context)
        : void()),
   ...);
}

/// out = a·bᵀ for `groups` products of the given depth in the context's precision, with one of `TilesToChoose`.
template <int kWidthA, int kWidthB, typename TilesToChoose, typename A, typename B>
void multiply(const A& a, const B& b, const Output& out, int64_t depth, int groups, Context& context) {
  constexpr bool kOdd = kWidthA == 1 || kWidthB == 1;
  using Fma = std::conditional_t<kOdd, typename TilesToChoose::OddFma, typename TilesToChoose::Fma>;
  using Mma = std::conditional_t<kOdd, typename TilesToChoose::OddMma, typename TilesToChoose::Mma>;
  using Bf16 = std::conditional_t<kOdd, Mma, typename TilesToChoose::Bf16>;
  switch (context.precision) {
    case Precision::fp32:
      multiply_with<Precision::fp32, kWidthA, kWidthB>(Fma{}, a, b, out, depth, groups, context);
      break;
    case Precision::tf32:
      multiply_with<Precision::tf32, kWidthA, kWidthB>(Mma{}, a, b, out, depth, groups, context);
      break;
    case Precision::bf16:
      multiply_with<Precision::bf16, kWidthA, kWidthB>(Bf16{}, a, b, out, depth, groups, context);
      break;
  }
}

/// Whether runs of `floats` floats from p on all begin at multiples of 16 bytes.
inline bool in_quads(const float* p, int64_t floats) { return gpu::in_quads(floats, {p}); }

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
