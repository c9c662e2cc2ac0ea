// The three products of linear.h on the tile machinery of gemm/tile.h: y = x·wᵀ reads both operands along their rows;
// dx = dy·w reads w across; dw = dyᵀ·x reads both across. Few rows (a batch of up to 16 or so) are bound by reading w,
// once: a tile of 16 rows and shares of the depth that keep every multiprocessor reading.
#include <cmath>

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
void forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape, Activation activation,
             const DropoutBehind& dropout, Context& context) {
  check_forward(shape, activation);
  check_32_bit(shape);
  const DropoutShape dropped = dropout.shape(shape.N, shape.K);
  dropped.check();
  if (shape.N == 0) return;
  // One kernel with dropout and without.
  auto out = tile::matrix_output<tile::Fused::dropout>(y, shape.N, shape.K);
  out.bias = b;
  out.bias_quads = tile::in_wholes(b, out.columns);
  out.activation = activation;
  if (dropout.p > 0.0f) {
    out.mask = {dropout.state, dropout.layer, static_cast<uint32_t>(std::ceil(double{dropout.p} * 0x1p24))};
    out.scale = dropped.scale();
  }
  multiply<FewRowTiles>(rows_of(x, shape.N, shape.C), rows_of(w, shape.K, shape.C), out, shape.C,
                        tile::in_wholes(x, shape.C) && tile::in_wholes(w, shape.C), context);
}

/// `through_relu` may be null.
template <typename T>
void backward_data(const T* dy, const T* w, const T* through_relu, T* dx, const LinearShape& shape, float p,
                   Context& context) {
  shape.check();
  check_32_bit(shape);
  const DropoutShape dropped{shape.N, shape.C, p};
  dropped.check();
  if (shape.N == 0) return;
  auto out = tile::matrix_output<tile::Fused::relu_backward>(dx, shape.N, shape.C);
  out.read_through_relu(through_relu, 0);
  out.scale = dropped.scale();
  multiply<FewRowTiles>(rows_of(dy, shape.N, shape.K), columns_of(w, shape.K, shape.C), out, shape.K,
                        tile::in_wholes(dy, shape.K) && tile::in_wholes(w, shape.C), context);
}

}  // namespace

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  forward(x, w, b, y, shape, activation, {}, context);
}

template <typename T>
void linear_forward_dropout(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                            Activation activation, const DropoutBehind& dropout, Context& context) {
  forward(x, w, b, y, shape, activation, dropout, context);
}

template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context) {
  backward_data<T>(dy, w, nullptr, dx, shape, 0.0f, context);
}

template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape, float p,
                                       Context& context) {
  backward_data(dy, w, x, dx, shape, p, context);
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

#define STRIATE_INSTANTIATE(T)                                                                                     \
  template void linear_forward<T>(const T*, const T*, const float*, T*, const LinearShape&, Activation, Context&); \
  template void linear_forward_dropout<T>(const T*, const T*, const float*, T*, const LinearShape&, Activation,    \
                                          const DropoutBehind&, Context&);                                         \
  template void linear_backward_data<T>(const T*, const T*, T*, const LinearShape&, Context&);                     \
  template void linear_backward_data_through_relu<T>(const T*, const T*, const T*, T*, const LinearShape&, float,  \
                                                     Context&);                                                    \
  template void linear_backward_weight<T>(const T*, const T*, float*, float*, const LinearShape&, Accumulate, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
