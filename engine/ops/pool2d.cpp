#include "kernels/pool2d/pool2d.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"

namespace striate::ops {

namespace {
Pool2dShape pool_shape(const char* op, const Tensor& x, const Pool2dOptions& o) {
  check_rank(op, "x [N,H,W,C]", x, 4);
  const Pool2dShape shape{x.dim(0),   x.dim(1),   x.dim(2),   x.dim(3), o.window_h,
                          o.window_w, o.stride_h, o.stride_w, o.pad_h,  o.pad_w};
  shape.check();
  return shape;
}
}  // namespace

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  Pool2dShape shape = pool_shape("max_pool2d", x, options);
  shape.after_relu = comes_out_of_relu(x);
  const Device device = x.device();
  const Shape y_shape{shape.N, shape.P(), shape.Q(), shape.C};
  Tensor y = Tensor::empty(y_shape, x.dtype(), device);
  Tensor index = Tensor::empty(y_shape, DType::uint8, device);
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, max_pool2d_forward, x.data<T>(), y.data<T>(), index.data<uint8_t>(), shape,
                     context(device));
  });
  if (!any_requires_grad({x})) return y;
  record("max_pool2d", y, {x}, [index, shape, device](const Tensor& dy, Gradients& gradients) {
    Tensor dx = Tensor::empty({shape.N, shape.H, shape.W, shape.C}, dy.dtype(), device);
    in_type_of(dy, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, max_pool2d_backward, dy.data<T>(), index.data<uint8_t>(), dx.data<T>(), shape,
                       context(device));
    });
    gradients.add(0, std::move(dx), shape.after_relu ? ThroughRelu::yes : ThroughRelu::no);
  });
  if (shape.after_relu) takes_through_relu(y);
  return y;
}

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const Pool2dShape shape = pool_shape("avg_pool2d", x, options);
  const Device device = x.device();
  Tensor y = Tensor::empty({shape.N, shape.P(), shape.Q(), shape.C}, x.dtype(), device);
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, avg_pool2d_forward, x.data<T>(), y.data<T>(), shape, context(device));
  });
  if (!any_requires_grad({x})) return y;
  record("avg_pool2d", y, {x}, [shape, device](const Tensor& dy, Gradients& gradients) {
    Tensor dx = Tensor::empty({shape.N, shape.H, shape.W, shape.C}, dy.dtype(), device);
    in_type_of(dy, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, avg_pool2d_backward, dy.data<T>(), dx.data<T>(), shape, context(device));
    });
    gradients.add(0, std::move(dx));
  });
  return y;
}

Tensor adaptive_avg_pool2d(const Tensor& x, int64_t height, int64_t width) {
  check_rank("adaptive_avg_pool2d", "x [N,H,W,C]", x, 4);
  const AdaptivePool2dShape shape{x.dim(0), x.dim(1), x.dim(2), x.dim(3), height, width};
  shape.check();
  // Each window is one pixel: the network's usual input size.
  if (height == shape.H && width == shape.W) return x;
  const Device device = x.device();
  Tensor y = Tensor::empty({shape.N, height, width, shape.C}, x.dtype(), device);
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, adaptive_avg_pool2d_forward, x.data<T>(), y.data<T>(), shape, context(device));
  });
  if (!any_requires_grad({x})) return y;
  record("adaptive_avg_pool2d", y, {x}, [shape, device](const Tensor& dy, Gradients& gradients) {
    Tensor dx = Tensor::empty({shape.N, shape.H, shape.W, shape.C}, dy.dtype(), device);
    in_type_of(dy, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, adaptive_avg_pool2d_backward, dy.data<T>(), dx.data<T>(), shape, context(device));
    });
    gradients.add(0, std::move(dx));
  });
  return y;
}

}  // namespace striate::ops
