// Three matrix products over the tile machinery of kernels/gemm: a linear layer is a 1×1 convolution of 1×1 images.
#include "kernels/error.h"
#include "kernels/gemm/product.h"
#include "kernels/gemm/weight_gradient.h"
#include "kernels/linear/linear.h"

namespace striate::cpu {

void linear_forward(const float* x, const float* w, const float* b, float* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  shape.check();
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a linear layer; apply others after it",
                      shape.to_string());
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

}  // namespace striate::cpu
