// A handful of rows goes at the speed of memory (few_rows.h), more through register tiles (many_rows.h); in bfloat16
// through the tile machinery of kernels/gemm, as a 1×1 convolution of 1×1 images.
#include <type_traits>

#include "kernels/error.h"
#include "kernels/gemm/product.h"
#include "kernels/gemm/weight_gradient.h"
#include "kernels/linear/few_rows.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/many_rows.h"

namespace striate::cpu {

namespace {

template <typename T>
gemm::WeightGradient<T> weight_gradient(const T* x, const T* dy, float* dw, float* db, const LinearShape& shape,
                                        Accumulate accumulate) {
  gemm::WeightGradient<T> gradient;
  gradient.x = gemm::plain_rows(x, shape.N, shape.C);
  gradient.dy = dy;
  gradient.dy_stride = shape.K;
  gradient.columns = shape.K;
  gradient.dw = dw;
  gradient.db = db;
  gradient.accumulate = accumulate;
  return gradient;
}

/// db may be null: nothing is done.
template <typename T>
void bias_gradient(const T* dy, float* db, const LinearShape& shape, Accumulate accumulate, Context& context) {
  if (db == nullptr) return;
  const gemm::WeightGradient<T> gradient = weight_gradient<T>(nullptr, dy, nullptr, db, shape, accumulate);
  gemm::bias_gradient(gradient, context.workspace->get<float>(gemm::bias_scratch(gradient)), context);
}

}  // namespace

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  shape.check();
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a linear layer; apply others after it",
                      shape.to_string());
  if (0 < shape.N && shape.N <= kFewRows) return linear_forward_few_rows(x, w, b, y, shape, activation, context);
  if (shape.N > 0 && takes_weights_in_place(w, shape)) {
    return linear_forward_many_rows(x, w, b, y, shape, activation, context);
  }
  gemm::Product<T> product;
  product.a = gemm::plain_rows(x, shape.N, shape.C);
  product.w.w = w;
  product.w.stride = shape.C;
  product.columns = shape.K;
  product.c = y;
  product.c_image_stride = shape.K;
  product.bias = b;
  product.activation = activation;
  gemm::multiply(product, context);
}

template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context) {
  shape.check();
  if (0 < shape.N && shape.N <= kFewRows) {
    FewRowsBackward<T> backward;
    backward.dy = dy;
    backward.w = w;
    backward.dx = dx;
    return linear_backward_few_rows(backward, shape, context);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (shape.N > 0) return linear_backward_data_many_rows(dy, w, dx, shape, context);
  }
  gemm::Product<T> product;
  product.a = gemm::plain_rows(dy, shape.N, shape.K);
  product.w.w = w;
  product.w.depth_contiguous = false;
  product.w.stride = shape.C;
  product.columns = shape.C;
  product.c = dx;
  product.c_image_stride = shape.C;
  gemm::multiply(product, context);
}

template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  if (0 < shape.N && shape.N <= kFewRows) {
    FewRowsBackward<T> backward;
    backward.x = x;
    backward.dy = dy;
    backward.dw = dw;
    backward.accumulate = accumulate;
    linear_backward_few_rows(backward, shape, context);
    return bias_gradient(dy, db, shape, accumulate, context);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (0 < shape.N && shape.N <= kMostGradientRows) {
      linear_backward_weight_many_rows(x, dy, dw, shape, accumulate, nullptr, {}, context);
      return bias_gradient(dy, db, shape, accumulate, context);
    }
  }
  gemm::weight_gradient(weight_gradient(x, dy, dw, db, shape, accumulate), context);
}

bool linear_can_update(const LinearShape& shape, const Context&) { return 0 < shape.N && shape.N <= kMostGradientRows; }

template <typename T>
void linear_backward_update(const T* x, const T* dy, T* dx, float* db, Accumulate accumulate, const LinearShape& shape,
                            const UpdateRule& rule, const ParameterUpdate<float>& update, Context& context) {
  shape.check();
  require<ShapeError>(update.n == shape.K * shape.C, "{}: an update of {} weights", shape.to_string(), update.n);
  require<Error>(linear_can_update(shape, context), "{}: its weights cannot be updated as their gradient arrives",
                 shape.to_string());
  const T* w = nullptr;
  if constexpr (std::is_same_v<T, float>) {
    w = update.w;
  } else {
    require<Error>(update.rounded != nullptr, "{}: an update without the weights in bfloat16", shape.to_string());
    w = update.rounded;
  }
  if (shape.N <= kFewRows) {
    FewRowsBackward<T> backward;
    backward.x = x;
    backward.dy = dy;
    backward.w = w;
    backward.dx = dx;
    backward.rule = &rule;
    backward.update = update;
    linear_backward_few_rows(backward, shape, context);
  } else {
    if (dx) linear_backward_data(dy, w, dx, shape, context);
    if constexpr (std::is_same_v<T, float>) {
      linear_backward_weight_many_rows(x, dy, nullptr, shape, Accumulate::no, &rule, update, context);
    } else {
      linear_update_in_bf16(x, dy, shape, rule, update, context);
    }
  }
  bias_gradient(dy, db, shape, accumulate, context);
}

template void linear_forward(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                             Context&);
template void linear_forward(const bfloat16*, const bfloat16*, const float*, bfloat16*, const LinearShape&, Activation,
                             Context&);
template void linear_backward_data(const float*, const float*, float*, const LinearShape&, Context&);
template void linear_backward_data(const bfloat16*, const bfloat16*, bfloat16*, const LinearShape&, Context&);
template void linear_backward_weight<float>(const float*, const float*, float*, float*, const LinearShape&, Accumulate,
                                            Context&);
template void linear_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const LinearShape&,
                                               Accumulate, Context&);
template void linear_backward_update(const float*, const float*, float*, float*, Accumulate, const LinearShape&,
                                     const UpdateRule&, const ParameterUpdate<float>&, Context&);
template void linear_backward_update(const bfloat16*, const bfloat16*, bfloat16*, float*, Accumulate,
                                     const LinearShape&, const UpdateRule&, const ParameterUpdate<float>&, Context&);

}  // namespace striate::cpu
