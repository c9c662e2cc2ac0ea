// The three products of linear.h on the tile machinery of gemm/tile.h: y = x·wᵀ reads both operands along their rows;
// dx = dy·w reads w across; dw = dyᵀ·x reads both across. Few rows (a batch of up to 16 or so) are bound by reading w,
// once: a tile of 16 rows and shares of the depth that keep every multiprocessor reading.
#include "kernels/gemm/tile_launch.h"
#include "kernels/linear/check.h"

namespace striate::cuda {

namespace {

using tile::MatrixColumns;
using tile::MatrixRows;

/// With a tile of 16 rows, for few.
struct FewRowTiles : tile::Tiles {
  using Fma = tile::ShapeList<tile::Shape<128, 128, 16, 4, 2, 3, 2>, tile::Shape<64, 64, 16, 2, 2, 3, 4>,
                              tile::Shape<16, 128, 32, 1, 4, 3, 2>>;
  using Mma = tile::ShapeList<tile::Shape<224, 128, 32, 2, 4, 3, 1>, tile::Shape<128, 128, 16, 2, 2, 4, 2>,
                              tile::Shape<128, 64, 16, 2, 1, 3, 4>, tile::Shape<64, 64, 32, 2, 2, 3, 3>,
                              tile::Shape<16, 128, 32, 1, 4, 3, 2>>;
  using Bf16 = tile::ShapeList<tile::Shape<224, 128, 32, 2, 4, 2, 1>, tile::Shape<128, 128, 32, 2, 4, 2, 1>,
                               tile::Shape<64, 64, 32, 2, 2, 2, 4>, tile::Shape<16, 128, 32, 1, 4, 2, 4>>;
};

template <typename Tiles, typename A, typename B>
void multiply(const A& a, const B& b, const tile::Output& out, int64_t depth, bool quads, Context& context) {
  if (quads) {
    tile::multiply<4, 4, Tiles>(a, b, out, depth, 1, context);
  } else {
    tile::multiply<1, 1, Tiles>(a, b, out, depth, 1, context);
  }
}

MatrixRows rows_of(const float* data, int64_t rows, int64_t depth) {
  return {data, 0, static_cast<int>(depth), static_cast<int>(rows), static_cast<int>(depth)};
}
MatrixColumns columns_of(const float* data, int64_t depth, int64_t columns) {
  return {data, 0, static_cast<int>(columns), static_cast<int>(columns), static_cast<int>(depth)};
}

}  // namespace

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  check_forward(shape, activation);
  check_32_bit(shape);
  if (shape.N == 0) return;
  tile::Output out = tile::matrix_output(y, shape.N, shape.K);
  out.bias = b;
  out.bias_quads = tile::in_quads(b, out.columns);
  out.activation = activation;
  multiply<FewRowTiles>(rows_of(x, shape.N, shape.C), rows_of(w, shape.K, shape.C), out, shape.C,
                        tile::in_quads(x, shape.C) && tile::in_quads(w, shape.C), context);
}

template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context) {
  shape.check();
  check_32_bit(shape);
  if (shape.N == 0) return;
  multiply<FewRowTiles>(rows_of(dy, shape.N, shape.K), columns_of(w, shape.K, shape.C),
                        tile::matrix_output(dx, shape.N, shape.C), shape.K,
                        tile::in_quads(dy, shape.K) && tile::in_quads(w, shape.C), context);
}

template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  check_32_bit(shape);
  // An empty batch goes through the same kernels: sums of nothing are zeros, or what was there.
  tile::Output out = tile::matrix_output(dw, shape.K, shape.C);
  out.accumulate = accumulate == Accumulate::yes;
  multiply<tile::GradientTiles>(columns_of(dy, shape.N, shape.K), columns_of(x, shape.N, shape.C), out, shape.N,
                                tile::in_quads(dy, shape.K) && tile::in_quads(x, shape.C), context);
  if (db) tile::sum_columns(dy, db, shape.N, shape.K, out.accumulate, *context.workspace, *context.stream);
}

template void linear_forward<float>(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                                    Context&);
template void linear_backward_data<float>(const float*, const float*, float*, const LinearShape&, Context&);
template void linear_backward_weight<float>(const float*, const float*, float*, float*, const LinearShape&, Accumulate,
                                            Context&);

}  // namespace striate::cuda
