#include "kernels/activation/activation.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"

namespace striate::ops {

Tensor activation(const Tensor& x, Activation activation) {
  if (activation == Activation::none) return x;
  const Device device = x.device();
  Tensor y = Tensor::empty(x.shape(), DType::float32, device);
  STRIATE_DISPATCH(device, activation_forward, activation, x.data<float>(), y.data<float>(), x.size(), context(device));
  if (!any_requires_grad({x})) return y;
  const bool from_output = derivative_from_output(activation);
  const Tensor saved_x = from_output ? Tensor() : x.detach();
  record("activation", y, {x}, [saved_x, from_output, activation, device](const Tensor& dy, Gradients& gradients) {
    if (gradients.through_relu()) return gradients.add(0, dy);
    const Tensor& saved = from_output ? gradients.output() : saved_x;
    Tensor dx = dy.is_only_handle() ? dy : Tensor::empty(dy.shape(), DType::float32, device);
    STRIATE_DISPATCH(device, activation_backward, activation, saved.data<float>(), dy.data<float>(), dx.data<float>(),
                     dy.size(), context(device));
    gradients.add(0, std::move(dx));
  });
  if (from_output) record_activation(activation, y);
  return y;
}

}  // namespace striate::ops
