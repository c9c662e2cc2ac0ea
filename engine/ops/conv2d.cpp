#include "kernels/conv2d/conv2d.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "engine/saved.h"
#include "kernels/conv2d/max_pooled.h"
#include "kernels/error.h"
#include "kernels/pool2d/pool2d.h"

namespace striate::ops {

namespace {

Conv2dShape shape_of(const Tensor& x, const Tensor& w, const Conv2dOptions& o) {
  return {x.dim(0),   x.dim(1),   x.dim(2), x.dim(3), w.dim(0),     w.dim(1),     w.dim(2),
          o.stride_h, o.stride_w, o.pad_h,  o.pad_w,  o.dilation_h, o.dilation_w, o.groups};
}

Conv2dShape checked_shape(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options,
                          Kernels kernels) {
  check_same_device("conv2d", x, w);
  const Conv2dShape shape = shape_of(x, w, options);
  shape.check();
  require<ShapeError>(w.dim(3) == shape.group_channels(), "conv2d: x {} with {} groups needs w [K,R,S,{}], found {}",
                      to_string(x.shape()), options.groups, shape.group_channels(), to_string(w.shape()));
  check_bias("conv2d", x, b, shape.K);
  check_kernels("conv2d", "cudnn", x.device(), kernels);
  return shape;
}

void check_ranks(const Tensor& x, const Tensor& w) {
  check_rank("conv2d", "x [N,H,W,C]", x, 4);
  check_rank("conv2d", "w [K,R,S,C/groups]", w, 4);
  check_parameter("conv2d", "w", w);
}

/// The gradients of x, w and b from that of the sums, and what they need.
struct Backward {
  Saved x;
  Tensor w;
  Conv2dShape shape;
  Kernels kernels;
  ThroughRelu through_relu;  ///< the one that x came out of

  Backward(const Tensor& input, const Tensor& weights, const Conv2dShape& s, Kernels k)
      : x(input),
        w(weights.detach()),
        shape(s),
        kernels(k),
        through_relu(k == Kernels::own && comes_out_of_relu(input) ? ThroughRelu::yes : ThroughRelu::no) {}

  void operator()(const Tensor& d, Gradients& gradients) const {
    const Device device = d.device();
    const Tensor input = x.get();
    if (gradients.wants(0)) {
      Tensor dx = Tensor::empty(input.shape(), input.dtype(), device);
      in_type_of(input, [&]<typename T>(T) {
        const Tensor weights = product_weights(w, input);
        if (through_relu == ThroughRelu::yes) {
          STRIATE_DISPATCH(device, conv2d_backward_data_through_relu, d.data<T>(), weights.data<T>(), input.data<T>(),
                           dx.data<T>(), shape, context(device));
        } else {
          STRIATE_DISPATCH_OR(cudnn, kernels, device, conv2d_backward_data, d.data<T>(), weights.data<T>(),
                              dx.data<T>(), shape, context(device));
        }
      });
      gradients.add(0, std::move(dx), through_relu);
    }
    WeightGradients dw(gradients, w.shape(), shape.K, device);
    if (dw.wanted()) {
      in_type_of(input, [&]<typename T>(T) {
        STRIATE_DISPATCH_OR(cudnn, kernels, device, conv2d_backward_weight, input.data<T>(), d.data<T>(), dw.weight(),
                            dw.bias(), shape, dw.accumulate(), context(device));
      });
    }
  }
};

}  // namespace

Tensor conv2d(const Tensor& given_x, const Tensor& w, const Tensor& b, const Conv2dOptions& options,
              Activation activation, Kernels kernels) {
  check_ranks(given_x, w);
  const Tensor x = product_operand(given_x);
  const Conv2dShape shape = checked_shape(x, w, b, options, kernels);
  const Device device = x.device();

  Tensor y = Tensor::empty({shape.N, shape.P(), shape.Q(), shape.K}, x.dtype(), device);
  in_type_of(x, [&]<typename T>(T) {
    const Tensor weights = product_weights(w, x);
    STRIATE_DISPATCH_OR(cudnn, kernels, device, conv2d_forward, x.data<T>(), weights.data<T>(), data_or_null(b),
                        y.data<T>(), shape, activation, context(device));
  });
  if (!any_requires_grad({x, w, b})) return y;

  const Backward backward(x, w, shape, kernels);
  record("conv2d", y, {x, w, b}, [backward, activation](const Tensor& dy, Gradients& gradients) {
    backward(through_activation(activation, dy, gradients), gradients);
  });
  record_activation(activation, y);
  if (backward.through_relu == ThroughRelu::yes) takes_through_relu(y);
  return y;
}

bool conv2d_max_pool2d_pays(const Tensor& x, const Tensor& w, const Conv2dOptions& options, Kernels kernels) {
  check_ranks(x, w);
  const Conv2dShape shape = shape_of(x, w, options);
  shape.check();
  if (x.device() != Device::cpu || kernels != Kernels::own) return false;
  const Context& on = context(x.device());
  return x.dtype() == DType::bfloat16 || on.precision == Precision::bf16
             ? cpu::conv2d_max_pool_pays<bfloat16>(shape, on)
             : cpu::conv2d_max_pool_pays<float>(shape, on);
}

Tensor conv2d_max_pool2d(const Tensor& given_x, const Tensor& w, const Tensor& b, const Conv2dOptions& options,
                         const Pool2dOptions& pooling, Activation activation) {
  check_ranks(given_x, w);
  const Tensor x = product_operand(given_x);
  const Conv2dShape shape = checked_shape(x, w, b, options, Kernels::own);
  require<ConfigError>(x.device() == Device::cpu,
                       "conv2d_max_pool2d: one kernel on device cpu alone, and its inputs live on {}; use two ops",
                       to_string(x.device()));
  require<ShapeError>(activation == Activation::relu || activation == Activation::none,
                      "conv2d_max_pool2d: the derivative of an activation other than none and relu needs the "
                      "convolution's output; use two ops");
  Pool2dShape pool{shape.N,          shape.P(),        shape.Q(),        shape.K,       pooling.window_h,
                   pooling.window_w, pooling.stride_h, pooling.stride_w, pooling.pad_h, pooling.pad_w};
  pool.check();
  pool.after_relu = activation == Activation::relu;
  const Shape y_shape{pool.N, pool.P(), pool.Q(), pool.C};
  Tensor y = Tensor::empty(y_shape, x.dtype(), x.device());
  Tensor index = Tensor::empty(y_shape, DType::uint8, x.device());
  in_type_of(x, [&]<typename T>(T) {
    const Tensor weights = product_weights(w, x);
    const T* const x_values = x.data<T>();
    const T* const w_values = weights.data<T>();
    const KernelTimer timer(x.device(), "conv2d_max_pool_forward", x_values, w_values, data_or_null(b), y.data<T>(),
                            index.data<uint8_t>(), shape, pool);
    cpu::conv2d_max_pool_forward(x_values, w_values, data_or_null(b), y.data<T>(), index.data<uint8_t>(), shape, pool,
                                 activation, context(x.device()));
  });
  if (!any_requires_grad({x, w, b})) return y;

  const Backward backward(x, w, shape, Kernels::own);
  record("conv2d_max_pool2d", y, {x, w, b}, [backward, index, pool](const Tensor& dy, Gradients& gradients) {
    Tensor d = Tensor::empty({pool.N, pool.H, pool.W, pool.C}, dy.dtype(), dy.device());
    in_type_of(dy, [&]<typename T>(T) {
      STRIATE_DISPATCH(dy.device(), max_pool2d_backward, dy.data<T>(), index.data<uint8_t>(), d.data<T>(), pool,
                       context(dy.device()));
    });
    backward(d, gradients);
  });
  if (backward.through_relu == ThroughRelu::yes) takes_through_relu(y);
  return y;
}

}  // namespace striate::ops
