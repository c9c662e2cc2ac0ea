#include "kernels/linear/linear.h"

#include <optional>
#include <tuple>

#include "engine/arriving_update.h"
#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "engine/rounded_copy.h"
#include "engine/saved.h"
#include "engine/step_state.h"
#include "engine/storage.h"
#include "kernels/error.h"

namespace striate::ops {

namespace {

/// The whole backward in one pass over the weights, which are the next step's afterwards. `dropped`: as
/// dropped_behind_relu(x) says, where dx is to go through that.
void update_on_arrival(const Tensor& x, Tensor w, const Tensor& dy, const LinearShape& shape,
                       std::optional<float> dropped, ArrivingUpdate& update, Gradients& gradients) {
  Tensor dx = gradients.wants(0) ? Tensor::empty(x.shape(), x.dtype(), x.device()) : Tensor();
  Tensor db;
  Accumulate accumulate = Accumulate::no;
  if (gradients.wants(2)) std::tie(db, accumulate) = gradients.target(2, {shape.K}, x.device());
  Context& ctx = context(x.device());
  product_weights(w, x);  // dx is made of the rounded copy: of one that is up to date
  aim_update(update.parameter, w);
  in_type_of(x, [&]<typename T>(T) {
    const KernelTimer timer(x.device(), "linear_backward_update", x.data<T>(), dy.data<T>(), data_or_null<T>(dx), shape,
                            update.parameter);
    cpu::linear_backward_update(x.data<T>(), dy.data<T>(), data_or_null<T>(dx), data_or_null<float>(db), accumulate,
                                shape, update.rule, update.parameter, ctx);
  });
  update.done = true;
  if (!dx.defined()) return;
  if (dropped) through_relu(x, dx, dx, *dropped);
  gradients.add(0, std::move(dx), dropped ? ThroughRelu::yes : ThroughRelu::no);
}

}  // namespace

Tensor linear(const Tensor& given_x, const Tensor& w, const Tensor& b, Activation activation, Kernels kernels,
              const DropoutOptions& then) {
  // Without a ReLU what is dropped cannot be told from the output; the kernels count rows from the first sample.
  if (then.p != 0.0f && (activation != Activation::relu || kernels != Kernels::own || then.first_row != 0)) {
    return dropout(linear(given_x, w, b, activation, kernels), then);
  }
  check_rank("linear", "x [N,C]", given_x, 2);
  check_rank("linear", "w [K,C]", w, 2);
  check_parameter("linear", "w", w);
  const Tensor x = product_operand(given_x);
  check_same_device("linear", x, w);
  const LinearShape shape{x.dim(0), x.dim(1), w.dim(0)};
  shape.check();
  require<ShapeError>(w.dim(1) == shape.C, "linear: x {} needs w [K,{}], found {}", to_string(x.shape()), shape.C,
                      to_string(w.shape()));
  check_bias("linear", x, b, shape.K);
  const Device device = x.device();
  check_kernels("linear", "cublas", device, kernels);

  Tensor y = Tensor::empty({shape.N, shape.K}, x.dtype(), device);
  in_type_of(x, [&]<typename T>(T) {
    const Tensor weights = product_weights(w, x);
    if (then.p != 0.0f) {
      const DropoutBehind behind{then.p, then.layer, dropout_state_for_kernels(device)};
      STRIATE_DISPATCH(device, linear_forward_dropout, x.data<T>(), weights.data<T>(), data_or_null(b), y.data<T>(),
                       shape, activation, behind, context(device));
    } else {
      STRIATE_DISPATCH_OR(cublas, kernels, device, linear_forward, x.data<T>(), weights.data<T>(), data_or_null(b),
                          y.data<T>(), shape, activation, context(device));
    }
  });
  if (!any_requires_grad({x, w, b})) return y;

  const std::optional<float> dropped_before = kernels == Kernels::own ? dropped_behind_relu(x) : std::nullopt;
  record("linear", y, {x, w, b},
         [saved = Saved(x), w = w.detach(), shape, activation, device, kernels, dropped_before, p = then.p,
          update = w.impl()->storage->arriving_update](const Tensor& dy, Gradients& gradients) {
           const Tensor input = saved.get();
           const Tensor d = through_activation(activation, dy, gradients, p);
           const auto dropped = gradients.may_take_through_relu(0) ? dropped_before : std::nullopt;
           if (ArrivingUpdate* arriving = gradients.arriving_update(1, update)) {
             if (device == Device::cpu && cpu::linear_can_update(shape, context(device))) {
               return update_on_arrival(input, w, d, shape, dropped, *arriving, gradients);
             }
           }
           if (gradients.wants(0)) {
             Tensor dx = Tensor::empty(input.shape(), input.dtype(), device);
             in_type_of(input, [&]<typename T>(T) {
               const Tensor weights = product_weights(w, input);
               if (dropped) {
                 STRIATE_DISPATCH(device, linear_backward_data_through_relu, d.data<T>(), weights.data<T>(),
                                  input.data<T>(), dx.data<T>(), shape, *dropped, context(device));
               } else {
                 STRIATE_DISPATCH_OR(cublas, kernels, device, linear_backward_data, d.data<T>(), weights.data<T>(),
                                     dx.data<T>(), shape, context(device));
               }
             });
             gradients.add(0, std::move(dx), dropped ? ThroughRelu::yes : ThroughRelu::no);
           }
           WeightGradients dw(gradients, w.shape(), shape.K, device);
           if (dw.wanted()) {
             in_type_of(input, [&]<typename T>(T) {
               STRIATE_DISPATCH_OR(cublas, kernels, device, linear_backward_weight, input.data<T>(), d.data<T>(),
                                   dw.weight(), dw.bias(), shape, dw.accumulate(), context(device));
             });
           }
         });
  record_activation(activation, y, then.p);
  if (dropped_before) takes_through_relu(y);
  return y;
}

}  // namespace striate::ops
