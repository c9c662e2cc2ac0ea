#include "kernels/conv2d/conv2d.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "engine/saved.h"
#include "kernels/error.h"

namespace striate::ops {

Tensor conv2d(const Tensor& given_x, const Tensor& w, const Tensor& b, const Conv2dOptions& options,
              Activation activation, Kernels kernels) {
  check_rank("conv2d", "x [N,H,W,C]", given_x, 4);
  check_rank("conv2d", "w [K,R,S,C/groups]", w, 4);
  check_parameter("conv2d", "w", w);
  const Tensor x = product_operand(given_x);
  check_same_device("conv2d", x, w);
  const Conv2dShape shape{x.dim(0),      x.dim(1),           x.dim(2),           x.dim(3),         w.dim(0),
                          w.dim(1),      w.dim(2),           options.stride_h,   options.stride_w, options.pad_h,
                          options.pad_w, options.dilation_h, options.dilation_w, options.groups};
  shape.check();
  require<ShapeError>(w.dim(3) == shape.group_channels(), "conv2d: x {} with {} groups needs w [K,R,S,{}], found {}",
                      to_string(x.shape()), options.groups, shape.group_channels(), to_string(w.shape()));
  check_bias("conv2d", x, b, shape.K);
  const Device device = x.device();
  check_kernels("conv2d", "cudnn", device, kernels);

  Tensor y = Tensor::empty({shape.N, shape.P(), shape.Q(), shape.K}, x.dtype(), device);
  in_type_of(x, [&]<typename T>(T) {
    const Tensor weights = product_weights(w, x);
    STRIATE_DISPATCH_OR(cudnn, kernels, device, conv2d_forward, x.data<T>(), weights.data<T>(), data_or_null(b),
                        y.data<T>(), shape, activation, context(device));
  });
  if (!any_requires_grad({x, w, b})) return y;

  const auto through_relu = kernels == Kernels::own && comes_out_of_relu(x) ? ThroughRelu::yes : ThroughRelu::no;
  record("conv2d", y, {x, w, b},
         [saved = Saved(x), w = w.detach(), shape, activation, device, kernels, through_relu](const Tensor& dy,
                                                                                              Gradients& gradients) {
           const Tensor input = saved.get();
           const Tensor d = through_activation(activation, dy, gradients);
           if (gradients.wants(0)) {
             Tensor dx = Tensor::empty(input.shape(), input.dtype(), device);
             in_type_of(input, [&]<typename T>(T) {
               const Tensor weights = product_weights(w, input);
               if (through_relu == ThroughRelu::yes) {
                 STRIATE_DISPATCH(device, conv2d_backward_data_through_relu, d.data<T>(), weights.data<T>(),
                                  input.data<T>(), dx.data<T>(), shape, context(device));
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
               STRIATE_DISPATCH_OR(cudnn, kernels, device, conv2d_backward_weight, input.data<T>(), d.data<T>(),
                                   dw.weight(), dw.bias(), shape, dw.accumulate(), context(device));
             });
           }
         });
  record_activation(activation, y);
  if (through_relu == ThroughRelu::yes) takes_through_relu(y);
  return y;
}

}  // namespace striate::ops
