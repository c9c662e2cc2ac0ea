// Three matrix products over the tile machinery of kernels/gemm: a linear layer is a 1×1 convolution of 1×1 images. A
// handful of rows takes its own way, at the speed of memory.
#include "kernels/error.h"
#include "kernels/gemm/product.h"
#include "kernels/gemm/weight_gradient.h"
#include "kernels/linear/few_rows.h"
#include "kernels/linear/linear.h"

namespace striate::cpu {

namespace {

void bias_gradient(const float* dy, float* db, const LinearShape& shape, Accumulate accumulate) {
  for (int64_t k = 0; k < shape.K; ++k) {
    double sum = accumulate == Accumulate::yes ? double{db[k]} : 0.0;
    for (int64_t n = 0; n < shape.N; ++n) sum += double{dy[n * shape.K + k]};
    db[k] = static_cast<float>(sum);
  }
}

}  // namespace

void linear_forward(const float* x, const float* w, const float* b, float* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  shape.check();
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a linear layer; apply others after it",
                      shape.to_string());
  if (0 < shape.N && shape.N <= kFewRows) return linear_forward_few_rows(x, w, b, y, shape, activation, context);
  gemm::Product product;
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

void linear_backward_data(const float* dy, const float* w, float* dx, const LinearShape& shape, Context& context) {
  shape.check();
  if (0 < shape.N && shape.N <= kFewRows) {
    FewRowsBackward backward;
    backward.dy = dy;
    backward.w = w;
    backward.dx = dx;
    return linear_backward_few_rows(backward, shape, context);
  }
  gemm::Product product;
  product.a = gemm::plain_rows(dy, shape.N, shape.K);
  product.w.w = w;
  product.w.depth_contiguous = false;
  product.w.stride = shape.C;
  product.columns = shape.C;
  product.c = dx;
  product.c_image_stride = shape.C;
  gemm::multiply(product, context);
}

void linear_backward_weight(const float* x, const float* dy, float* dw, float* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  if (0 < shape.N && shape.N <= kFewRows) {
    FewRowsBackward backward;
    backward.x = x;
    backward.dy = dy;
    backward.dw = dw;
    backward.accumulate = accumulate;
    linear_backward_few_rows(backward, shape, context);
    if (db) bias_gradient(dy, db, shape, accumulate);
    return;
  }
  gemm::WeightGradient gradient;
  gradient.x = gemm::plain_rows(x, shape.N, shape.C);
  gradient.dy = dy;
  gradient.dy_stride = shape.K;
  gradient.columns = shape.K;
  gradient.dw = dw;
  gradient.db = db;
  gradient.accumulate = accumulate;
  gemm::weight_gradient(gradient, context);
}

bool linear_can_update(const LinearShape& shape, const Context& context) {
  return 0 < shape.N && shape.N <= kFewRows && context.precision == Precision::fp32;
}

void linear_backward_update(const float* x, const float* dy, float* dx, float* db, Accumulate accumulate,
                            const LinearShape& shape, const UpdateRule& rule, const ParameterUpdate<float>& w,
                            Context& context) {
  shape.check();
  require<ShapeError>(w.n == shape.K * shape.C, "{}: an update of {} weights", shape.to_string(), w.n);
  require<Error>(linear_can_update(shape, context), "{}: its weights cannot be updated as their gradient arrives",
                 shape.to_string());
  FewRowsBackward backward;
  backward.x = x;
  backward.dy = dy;
  backward.w = w.w;
  backward.dx = dx;
  backward.rule = &rule;
  backward.update = w;
  linear_backward_few_rows(backward, shape, context);
  if (db) bias_gradient(dy, db, shape, accumulate);
}

}  // namespace striate::cpu
