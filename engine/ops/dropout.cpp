#include "kernels/dropout/dropout.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/ops.h"
#include "engine/saved.h"
#include "engine/step_state.h"

namespace striate::ops {

Tensor dropout(const Tensor& x, const DropoutOptions& options) {
  const int64_t N = x.dim(0);
  int64_t features = 1;
  for (int64_t axis = 1; axis < x.rank(); ++axis) features *= x.dim(axis);
  const DropoutShape shape{N, features, options.p, options.layer, options.first_row};
  shape.check();
  if (options.p == 0.0f) return x;
  const Device device = x.device();
  const auto forward = [shape, device](const Tensor& from) {
    Tensor to = Tensor::empty(from.shape(), from.dtype(), device);
    in_type_of(from, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, dropout_forward, from.data<T>(), to.data<T>(), shape, dropout_state_for_kernels(device),
                       context(device));
    });
    return to;
  };
  Tensor y = forward(x);
  if (!any_requires_grad({x})) return y;
  record("dropout", y, {x}, [shape, device](const Tensor& dy, Gradients& gradients) {
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), device);
    in_type_of(dy, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, dropout_backward, dy.data<T>(), dx.data<T>(), shape, dropout_state_for_kernels(device),
                       context(device));
    });
    gradients.add(0, std::move(dx));
  });
  if (is_held(x)) recomputable(y, [from = Saved(x), forward] { return forward(from.get()); });
  return y;
}

}  // namespace striate::ops
