#include "kernels/linear/linear.h"

#include <tuple>

#include "engine/arriving_update.h"
#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "engine/saved.h"
#include "engine/storage.h"
#include "kernels/error.h"

namespace striate::ops {

namespace {

/// The whole backward in one pass over the weights, which are the next step's afterwards.
void update_on_arrival(const Tensor& x, const Tensor& dy, const LinearShape& shape, ThroughRelu through_relu,
                       ArrivingUpdate& update, Gradients& gradients) {
  Tensor dx = gradients.wants(0) ? Tensor::empty(x.shape(), DType::float32, x.device()) : Tensor();
  Tensor db;
  Accumulate accumulate = Accumulate::no;
  if (gradients.wants(2)) std::tie(db, accumulate) = gradients.target(2, {shape.K}, x.device());
  Context& ctx = context(x.device());
  const KernelTimer timer(x.device(), "linear_backward_update", x.data<float>(), dy.data<float>(),
                          dx.defined() ? dx.data<float>() : nullptr, shape, update.parameter);
  cpu::linear_backward_update(x.data<float>(), dy.data<float>(), dx.defined() ? dx.data<float>() : nullptr,
                              db.defined() ? db.data<float>() : nullptr, accumulate, shape, update.rule,
                              update.parameter, ctx);
  update.done = true;
  if (!dx.defined()) return;
  if (through_relu == ThroughRelu::yes) {
    STRIATE_DISPATCH(x.device(), activation_backward, Activation::relu, x.data<float>(), dx.data<float>(),
                     dx.data<float>(), dx.size(), ctx);
  }
  gradients.add(0, std::move(dx), through_relu);
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, Kernels kernels) {
  check_rank("linear", "x [N,C]", x, 2);
  check_rank("linear", "w [K,C]", w, 2);
  check_same_device("linear", x, w);
  const LinearShape shape{x.dim(0), x.dim(1), w.dim(0)};
  shape.check();
  require<ShapeError>(w.dim(1) == shape.C, "linear: x {} needs w [K,{}], found {}", to_string(x.shape()), shape.C,
                      to_string(w.shape()));
  check_bias("linear", x, b, shape.K);
  const Device device = x.device();
  check_kernels("linear", "cublas", device, kernels);

  Tensor y = Tensor::empty({shape.N, shape.K}, DType::float32, device);
  STRIATE_DISPATCH_OR(cublas, kernels, device, linear_forward, x.data<float>(), w.data<float>(), data_or_null(b),
                      y.data<float>(), shape, activation, context(device));
  if (!any_requires_grad({x, w, b})) return y;

  const auto through_relu = kernels == Kernels::own && comes_out_of_relu(x) ? ThroughRelu::yes : ThroughRelu::no;
  record("linear", y, {x, w, b},
         [saved = Saved(x), w = w.detach(), shape, activation, device, kernels, through_relu,
          update = w.impl()->storage->arriving_update](const Tensor& dy, Gradients& gradients) {
           const Tensor input = saved.get();
           const Tensor d = through_activation(activation, dy, gradients);
           if (ArrivingUpdate* arriving = gradients.arriving_update(1, update)) {
             if (device == Device::cpu && cpu::linear_can_update(shape, context(device))) {
               return update_on_arrival(input, d, shape, through_relu, *arriving, gradients);
             }
           }
           if (gradients.wants(0)) {
             Tensor dx = Tensor::empty(input.shape(), DType::float32, device);
             if (through_relu == ThroughRelu::yes) {
               STRIATE_DISPATCH(device, linear_backward_data_through_relu, d.data<float>(), w.data<float>(),
                                input.data<float>(), dx.data<float>(), shape, context(device));
             } else {
               STRIATE_DISPATCH_OR(cublas, kernels, device, linear_backward_data, d.data<float>(), w.data<float>(),
                                   dx.data<float>(), shape, context(device));
             }
             gradients.add(0, std::move(dx), through_relu);
           }
           WeightGradients dw(gradients, w.shape(), shape.K, device);
           if (dw.wanted()) {
             STRIATE_DISPATCH_OR(cublas, kernels, device, linear_backward_weight, input.data<float>(), d.data<float>(),
                                 dw.weight(), dw.bias(), shape, dw.accumulate(), context(device));
           }
         });
  record_activation(activation, y);
  if (through_relu == ThroughRelu::yes) takes_through_relu(y);
  return y;
}

}  // namespace striate::ops
