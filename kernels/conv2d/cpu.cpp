// Winograd's algorithm where it is faster, see winograd.h; else implicit GEMM over the tile machinery of kernels/gemm;
// what im2col would write is gathered a block at a time.
//   forward          rows = output pixels, depth = (r, s, c), columns = k
//   backward_weight  rows = output pixels summed over, k × (r, s, c)
//   backward_data    rows = input pixels, depth = (r, s, k), columns = c: a convolution of dy with the turned kernel.
// With a stride, input pixels fall into stride_h·stride_w classes by their remainder; the pixels of a class all see the
// same taps of dy at unit steps, so each class is such a convolution by itself and every dx is written once.
#include <algorithm>
#include <numeric>

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/forward_product.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d/winograd_choice.h"
#include "kernels/error.h"
#include "kernels/gemm/product.h"
#include "kernels/gemm/weight_gradient.h"

namespace striate::cpu {

namespace {

/// One axis of a class of input pixels i = first + t·stride, t < count. They see output pixels
/// t + origin + j·step for j < taps, through kernel tap last_tap − j·tap_step.
struct ClassAxis {
  int64_t first, count;
  int64_t taps = 0, origin = 0, step = 1, last_tap = 0, tap_step = 1;

  ClassAxis(int64_t residue, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation)
      : first(residue), count(residue < size ? (size - residue + stride - 1) / stride : 0) {
    const int64_t shared = std::gcd(stride, dilation);
    tap_step = stride / shared;
    step = dilation / shared;
    for (int64_t r = kernel - 1; r >= 0; --r) {
      if ((residue + pad - r * dilation) % stride != 0) continue;
      last_tap = r;
      taps = r / tap_step + 1;
      origin = (residue + pad - r * dilation) / stride;
      break;
    }
  }
};

}  // namespace

template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& asked,
                    Activation activation, Context& context) {
  asked.check();
  const Conv2dShape shape = as_product(asked);
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a convolution; apply others after it",
                      shape.to_string());
  if (winograd_choice<T>(shape).forward) return winograd::forward(x, w, b, y, shape, activation, context);
  gemm::multiply(forward_product(x, w, b, y, shape, activation), context);
}

template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& asked, Context& context) {
  asked.check();
  const Conv2dShape shape = as_product(asked);
  if (winograd_choice<T>(shape).backward_data) return winograd::backward_data(dy, w, dx, shape, context);
  const int64_t Cg = shape.group_channels(), Kg = shape.group_kernels();
  gemm::Product<T> product;
  gemm::Patches<T>& a = product.a;
  a.image = dy;
  a.N = shape.N, a.H = shape.P(), a.W = shape.Q();
  a.channels = Kg, a.pixel_stride = shape.K;
  product.w.depth_contiguous = false;
  product.w.stride = shape.taps();
  product.columns = Cg;
  product.groups = shape.groups;
  product.a_group = Kg, product.w_group = Kg * shape.taps(), product.c_group = Cg;
  product.c_image_stride = shape.H * shape.W * shape.C;
  product.c_row_stride = shape.stride_h * shape.W * shape.C;
  product.c_pixel_stride = shape.stride_w * shape.C;
  const auto sees_all = [](int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    for (int64_t i = 0; i < std::min(stride, size); ++i) {
      if (ClassAxis(i, size, kernel, stride, pad, dilation).taps == 0) return false;
    }
    return true;
  };
  if (!sees_all(shape.H, shape.R, shape.stride_h, shape.pad_h, shape.dilation_h) ||
      !sees_all(shape.W, shape.S, shape.stride_w, shape.pad_w, shape.dilation_w)) {
    constexpr int64_t kGrain = 1 << 14;
    context.threads->parallel_for(shape.x_size(), kGrain,
                                  [&](int64_t begin, int64_t end) { std::fill(dx + begin, dx + end, T{}); });
  }
  for (int64_t residue_h = 0; residue_h < shape.stride_h; ++residue_h) {
    for (int64_t residue_w = 0; residue_w < shape.stride_w; ++residue_w) {
      const ClassAxis v(residue_h, shape.H, shape.R, shape.stride_h, shape.pad_h, shape.dilation_h);
      const ClassAxis u(residue_w, shape.W, shape.S, shape.stride_w, shape.pad_w, shape.dilation_w);
      if (v.taps == 0 || u.taps == 0) continue;  // the class of pixels that no output sees, which are zero by now
      a.P = v.count, a.Q = u.count;
      a.R = v.taps, a.S = u.taps;
      a.origin_h = v.origin, a.origin_w = u.origin;
      a.tap_h = v.step, a.tap_w = u.step;
      product.w.w = w + (v.last_tap * shape.S + u.last_tap) * Cg;
      product.w.tap_row_stride = -v.tap_step * shape.S * Cg;
      product.w.tap_stride = -u.tap_step * Cg;
      product.c = dx + (v.first * shape.W + u.first) * shape.C;
      gemm::multiply(product, context);
    }
  }
}

template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& asked,
                            Accumulate accumulate, Context& context) {
  asked.check();
  const Conv2dShape shape = as_product(asked);
  gemm::WeightGradient<T> gradient;
  gradient.x = input_patches(x, shape);
  gradient.dy = dy;
  gradient.dy_stride = shape.K;
  gradient.columns = shape.group_kernels();
  gradient.dw = dw;
  gradient.db = db;
  gradient.accumulate = accumulate;
  gradient.groups = shape.groups;
  gradient.x_group = shape.group_channels();
  gradient.dy_group = shape.group_kernels();
  gradient.dw_group = shape.group_kernels() * shape.taps();
  if (!winograd_choice<T>(shape).backward_weight) return gemm::weight_gradient(gradient, context);
  winograd::backward_weight(x, dy, dw, shape, accumulate, context);
  if (db) gemm::bias_gradient(gradient, context.workspace->get<float>(gemm::bias_scratch(gradient)), context);
}

template void conv2d_forward(const float*, const float*, const float*, float*, const Conv2dShape&, Activation,
                             Context&);
template void conv2d_forward(const bfloat16*, const bfloat16*, const float*, bfloat16*, const Conv2dShape&, Activation,
                             Context&);
template void conv2d_backward_data(const float*, const float*, float*, const Conv2dShape&, Context&);
template void conv2d_backward_data(const bfloat16*, const bfloat16*, bfloat16*, const Conv2dShape&, Context&);
template void conv2d_backward_weight<float>(const float*, const float*, float*, float*, const Conv2dShape&, Accumulate,
                                            Context&);
template void conv2d_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const Conv2dShape&,
                                               Accumulate, Context&);

}  // namespace striate::cpu
