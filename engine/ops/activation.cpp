#include "kernels/activation/activation.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "engine/saved.h"

namespace striate::ops {

Tensor activation(const Tensor& x, Activation activation) {
  if (activation == Activation::none) return x;
  const Device device = x.device();
  const auto forward = [activation, device](const Tensor& from) {
    Tensor to = Tensor::empty(from.shape(), from.dtype(), device);
    in_type_of(from, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, activation_forward, activation, from.data<T>(), to.data<T>(), from.size(),
                       context(device));
    });
    return to;
  };
  Tensor y = forward(x);
  if (!any_requires_grad({x})) return y;
  const bool from_output = derivative_from_output(activation);
  const Saved saved_x = from_output ? Saved() : Saved(x);
  record("activation", y, {x}, [saved_x, from_output, activation, device](const Tensor& dy, Gradients& gradients) {
    if (gradients.through_relu()) return gradients.add(0, dy);
    const Tensor saved = from_output ? gradients.output() : saved_x.get();
    Tensor dx = dy.is_only_handle() ? dy : Tensor::empty(dy.shape(), dy.dtype(), device);
    in_type_of(dy, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, activation_backward, activation, saved.data<T>(), dy.data<T>(), dx.data<T>(), dy.size(),
                       context(device));
    });
    gradients.add(0, std::move(dx));
  });
  if (!from_output || is_held(x)) recomputable(y, [from = Saved(x), forward] { return forward(from.get()); });
  if (from_output) record_activation(activation, y);
  return y;
}

}  // namespace striate::ops
