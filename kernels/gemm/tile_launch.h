#pragma once

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "kernels/gemm/split_sum.h"
#include "kernels/gemm/tile.h"
#include "kernels/gemm/tile_tuning.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/stream.h"

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

/// For products with an operand that is contiguous along the depth: Fma and Mma of float32, in fp32 and in tf32, Bf16
/// of bfloat16.
struct Tiles {
  using Fma = ShapeList<Shape<128, 128, 16, 4, 2, 3, 2>, Shape<64, 64, 16, 2, 2, 3, 4>>;
  using Mma = ShapeList<Shape<224, 128, 32, 2, 4, 3, 1>, Shape<128, 128, 16, 2, 2, 4, 2>,
                        Shape<128, 64, 16, 2, 1, 3, 4>, Shape<64, 64, 32, 2, 2, 3, 3>>;
  using Bf16 = ShapeList<Shape<224, 128, 64, 2, 4, 3, 1>, Shape<128, 128, 32, 2, 2, 4, 2>,
                         Shape<128, 64, 32, 2, 1, 3, 4>, Shape<64, 64, 64, 2, 2, 3, 3>>;
  using OddFma = ShapeList<Shape<64, 64, 32, 2, 2, 3, 3>>;
  using OddMma = OddFma;
  using OddBf16 = OddFma;
};

/// For windows against filters: also a tile of 192 columns.
struct ForwardTiles : Tiles {
  using Bf16 =
      ShapeList<Shape<224, 128, 64, 2, 4, 3, 1>, Shape<128, 192, 64, 2, 4, 3, 1>, Shape<128, 128, 32, 2, 2, 4, 2>,
                Shape<128, 64, 32, 2, 1, 3, 4>, Shape<64, 64, 64, 2, 2, 3, 3>>;
};

/// For weights' gradients: both operands are contiguous along the result's rows and columns.
struct GradientTiles {
  using Fma = Tiles::Fma;
  using Mma = ShapeList<Shape<256, 128, 32, 4, 2, 3, 1>, Shape<128, 128, 16, 2, 2, 4, 2>,
                        Shape<64, 128, 16, 1, 2, 3, 4>, Shape<64, 64, 16, 2, 2, 4, 4>>;
  using Bf16 = ShapeList<Shape<256, 128, 32, 4, 2, 4, 1>, Shape<128, 128, 32, 2, 2, 4, 2>,
                         Shape<64, 128, 32, 1, 2, 3, 4>, Shape<64, 64, 32, 2, 2, 4, 4>>;
  using OddFma = ShapeList<Shape<64, 64, 16, 2, 2, 3, 4>>;
  using OddMma = ShapeList<Shape<64, 64, 16, 2, 2, 4, 4>>;
  using OddBf16 = ShapeList<Shape<64, 64, 32, 2, 2, 3, 4>>;
};

/// For windows of quads that meet filters of odd rows.
struct RunTiles {
  using OddFma = ShapeList<Shape<128, 64, 16, 4, 1, 3, 4>>;
  using OddMma = ShapeList<Shape<256, 64, 16, 4, 1, 3, 2>>;
  using OddBf16 = ShapeList<Shape<256, 64, 32, 4, 1, 3, 2>>;
};

/// The shares' results lie densely, [shares, groups, rows, columns], as they are.
template <typename Out>
Out partial_results(float* memory, int rows, int columns, int groups) {
  Out out;
  out.data = memory;
  out.rows = rows, out.columns = columns;
  out.image_pitch = columns;
  out.group = int64_t{rows} * columns;
  out.share = out.group * groups;
  out.pairs = columns % 2 == 0;
  out.quads = columns % 4 == 0;
  return out;
}

template <Precision kPrecision, int kWidthA, int kWidthB, typename Shape, typename A, typename B, typename Out>
void launch_shape(const A& a, const B& b, const Out& out, int64_t depth, int groups, int shares, Context& context) {
  using Both = Pieces<Shape, kPrecision, kWidthA, kWidthB, A, B>;
  const auto divide_up = [](int64_t x, int64_t y) { return static_cast<int>((x + y - 1) / y); };
  Division division;
  division.column_tiles = divide_up(out.columns, Shape::kN);
  division.steps = divide_up(depth, Shape::kK);
  division.steps_per_share = divide_up(division.steps, shares);
  const dim3 grid(static_cast<unsigned>(divide_up(out.rows, Shape::kM) * division.column_tiles),
                  static_cast<unsigned>(shares), static_cast<unsigned>(groups));
  Output<float> partial;
  if (shares > 1) {
    Out to = out;
    const int64_t results = int64_t{shares} * groups * out.rows * out.columns;
    int64_t row_sums = 0;
    if constexpr (kSumsRows<Out>) row_sums = out.row_sums ? int64_t{shares} * groups * out.rows : 0;
    float* const memory = context.workspace->get<float>(results + row_sums);
    if constexpr (Out::kBfloat16) {
      partial = partial_results<Output<float>>(memory, out.rows, out.columns, groups);
    } else {
      to = partial_results<Out>(memory, out.rows, out.columns, groups);
      if constexpr (kSumsRows<Out>) to.row_sums = out.row_sums ? memory + results : nullptr;
    }
    gpu::launch(product_kernel<Shape, kPrecision, kWidthA, kWidthB, A, B, Out>, grid, dim3(Shape::kThreads),
                Both::kSharedBytes, *context.stream, a, b, to, partial, division);
    sum_shares(memory, shares, groups, out, *context.stream);
    return;
  }
  gpu::launch(product_kernel<Shape, kPrecision, kWidthA, kWidthB, A, B, Out>, grid, dim3(Shape::kThreads),
              Both::kSharedBytes, *context.stream, a, b, out, partial, division);
}

template <typename Shape, typename Both>
constexpr TileShape tile_shape() {
  return {Shape::kM, Shape::kN, Shape::kK, Shape::kBlocks, Both::kSharedBytes, Both::kWavefronts};
}

template <Precision kPrecision, int kWidthA, int kWidthB, typename A, typename B, typename Out, typename... Shapes>
void multiply_with(ShapeList<Shapes...>, const A& a, const B& b, const Out& out, int64_t depth, int groups,
                   Context& context) {
  constexpr std::array<TileShape, sizeof...(Shapes)> tiles{
      tile_shape<Shapes, Pieces<Shapes, kPrecision, kWidthA, kWidthB, A, B>>()...};
  const ProductSize size{out.rows,
                         out.columns,
                         depth,
                         groups,
                         (a.values() + b.values()) * groups,
                         static_cast<int>(sizeof(typename A::Value)),
                         static_cast<int>(sizeof(typename Out::Value))};
  const auto run = [&](const Choice& choice) {
    size_t number = 0;
    ((number++ == choice.tile
          ? launch_shape<kPrecision, kWidthA, kWidthB, Shapes>(a, b, out, depth, groups, choice.shares, context)
          : void()),
     ...);
  };
  TuningTable* const table = tuning_table();
  // What adds to its output cannot be repeated, and a capture cannot wait for a time.
  const bool can_time = !out.accumulate && context.stream->recording() == nullptr;
  run(table ? tuned_choice(*table, {A::kName, B::kName, kWidthA, kWidthB, kPrecision}, tiles, size, can_time, run,
                           context)
            : choose(tiles, size, kPrecision));
}

template <int kWidthA, int kWidthB, typename Fma, typename Mma, typename Bf16, typename A, typename B, typename Out>
void multiply_by_type(const A& a, const B& b, const Out& out, int64_t depth, int groups, Context& context) {
  if constexpr (std::is_same_v<typename A::Value, bfloat16>) {
    multiply_with<Precision::bf16, kWidthA, kWidthB>(Bf16{}, a, b, out, depth, groups, context);
  } else if (context.precision == Precision::tf32) {
    multiply_with<Precision::tf32, kWidthA, kWidthB>(Mma{}, a, b, out, depth, groups, context);
  } else {
    multiply_with<Precision::fp32, kWidthA, kWidthB>(Fma{}, a, b, out, depth, groups, context);
  }
}

/// out = a·bᵀ for `groups` products of the given depth with one of `TilesToChoose`, summed in float32. Of float32, in
/// the context's precision; bf16 is that of bfloat16 alone, with it floats are multiplied in fp32.
template <int kWidthA, int kWidthB, typename TilesToChoose, typename A, typename B, typename Out>
void multiply(const A& a, const B& b, const Out& out, int64_t depth, int groups, Context& context) {
  using Choose = TilesToChoose;
  if constexpr (kWidthA == 1 || kWidthB == 1) {
    multiply_by_type<kWidthA, kWidthB, typename Choose::OddFma, typename Choose::OddMma, typename Choose::OddBf16>(
        a, b, out, depth, groups, context);
  } else {
    multiply_by_type<kWidthA, kWidthB, typename Choose::Fma, typename Choose::Mma, typename Choose::Bf16>(
        a, b, out, depth, groups, context);
  }
}

/// Whether runs of `run` values from p on, one after another up to `values`, all begin at multiples of their size.
template <typename T>
bool in_runs(const T* p, int64_t values, int run) {
  return values % run == 0 && reinterpret_cast<uintptr_t>(p) % (static_cast<size_t>(run) * sizeof(T)) == 0;
}
/// Runs of 16 bytes.
template <typename T>
bool in_wholes(const T* p, int64_t values) {
  return in_runs(p, values, kWhole<T>);
}

/// A plain matrix [rows, columns] as output.
template <Fused kFused = Fused::nothing, typename T>
Output<T, kFused> matrix_output(T* c, int64_t rows, int64_t columns) {
  Output<T, kFused> out;
  out.data = c;
  out.rows = static_cast<int>(rows), out.columns = static_cast<int>(columns);
  out.image_pitch = static_cast<int>(columns);
  out.pairs = in_runs(c, columns, 2);
  out.quads = in_runs(c, columns, 4);
  return out;
}

/// dw [rows, columns], and db [rows] or null, overwritten or added to.
inline OutputWithRowSums gradient_output(float* dw, float* db, int64_t rows, int64_t columns, bool accumulate) {
  OutputWithRowSums out{matrix_output(dw, rows, columns), db};
  out.accumulate = accumulate;
  return out;
}

}  // namespace striate::tile
