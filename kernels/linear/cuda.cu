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
  using Bf16 = tile::ShapeList<tile::Shape<224, 128, 64, 2, 4, 3, 1>, tile::Shape<128, 128, 32, 2, 2, 4, 2>,
                               tile::Shape<128, 64, 32, 2, 1, 3, 4>, tile::Shape<64, 64, 64, 2, 2, 3, 3>,
                               tile::Shape<16, 128, 64, 1, 4, 3, 2>>;
};

template <typename Tiles, typename A, typename B, typename Out>
void multiply(const A& a, const B& b, const Out& out, int64_t depth, bool wholes, Context& context) {
  if (wholes) {
    constexpr int kWidth = tile::kWhole<typename A::Value>;
    tile::multiply<kWidth, kWidth, Tiles>(a, b, out, depth, 1, context);
  } else {
    tile::multiply<1, 1, Tiles>(a, b, out, depth, 1, context);
  }
}

template <typename T>
MatrixRows<T> rows_of(const T* data, int64_t rows, int64_t depth) {
  return {data, 0, static_cast<int>(depth), static_cast<int>(rows), static_cast<int>(depth)};
}
template <typename T>
MatrixColumns<T> columns_of(const T* data, int64_t depth, int64_t columns) {
  return {data, 0, static_cast<int>(columns), static_cast<int>(columns), static_cast<int>(depth)};
}

template <typename T>
void backward_data(const T* dy, const T* w, const T* through_relu, T* dx, const LinearShape& shape, Context& context) {
  shape.check();
  check_32_bit(shape);
  if (shape.N == 0) return;
  auto out = tile::matrix_output<tile::Fused::relu_backward>(dx, shape.N, shape.C);
  out.read_through_relu(through_relu, 0);
  multiply<FewRowTiles>(rows_of(dy, shape.N, shape.K), columns_of(w, shape.K, shape.C), out, shape.K,
                        tile::in_wholes(dy, shape.K) && tile::in_wholes(w, shape.C), context);
}

}  // namespace

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  check_forward(shape, activation);
  check_32_bit(shape);
  if (shape.N == 0) return;
  auto out = tile::matrix_output(y, shape.N, shape.K);
  out.bias = b;
  out.bias_quads = tile::in_wholes(b, out.columns);
  out.activation = activation;
  multiply<FewRowTiles>(rows_of(x, shape.N, shape.C), rows_of(w, shape.K, shape.C), out, shape.C,
                        tile::in_wholes(x, shape.C) && tile::in_wholes(w, shape.C), context);
}

template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context) {
  backward_data<T>(dy, w, nullptr, dx, shape, context);
}

template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape,
                                       Context& context) {
  backward_data(dy, w, x, dx, shape, context);
}

template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  check_32_bit(shape);
  // An empty batch goes through the same kernels: sums of nothing are zeros, or what was there.
  const auto out = tile::gradient_output(dw, db, shape.K, shape.C, accumulate == Accumulate::yes);
  multiply<tile::GradientTiles>(columns_of(dy, shape.N, shape.K), columns_of(x, shape.N, shape.C), out, shape.N,
                                tile::in_wholes(dy, shape.K) && tile::in_wholes(x, shape.C), context);
}

template void linear_forward<float>(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                                    Context&);
template void linear_backward_data<float>(const float*, const float*, float*, const LinearShape&, Context&);
template void linear_backward_data_through_relu<float>(const float*, const float*, const float*, float*,
                                                       const LinearShape&, Context&);
template void linear_backward_weight<float>(const float*, const float*, float*, float*, const LinearShape&, Accumulate,
                                            Context&);

template void linear_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const LinearShape&,
                                       Activation, Context&);
template void linear_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const LinearShape&, Context&);
template void linear_backward_data_through_relu<bfloat16>(const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*,
                                                          const LinearShape&, Context&);
template void linear_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const LinearShape&,
                                               Accumulate, Context&);

}  // namespace striate::cuda
