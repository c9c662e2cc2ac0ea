#include "kernels/elementwise/elementwise.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "kernels/error.h"

namespace striate::ops {

Tensor add(const Tensor& a, const Tensor& b, Activation activation) {
  require<ShapeError>(a.shape() == b.shape(), "add: {} and {} differ", to_string(a.shape()), to_string(b.shape()));
  check_same_device("add", a, b);
  check_same_type("add", a, b);
  const Device device = a.device();
  Tensor y = Tensor::empty(a.shape(), a.dtype(), device);
  in_type_of(a, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, add, a.data<T>(), b.data<T>(), y.data<T>(), a.size(), activation, context(device));
  });
  if (!any_requires_grad({a, b})) return y;
  record("add", y, {a, b}, [activation](const Tensor& dy, Gradients& gradients) {
    const Tensor d = through_activation(activation, dy, gradients);
    if (gradients.wants(0)) gradients.add(0, d);
    if (gradients.wants(1)) gradients.add(1, d);
  });
  record_activation(activation, y);
  return y;
}

Tensor scale(const Tensor& x, float factor) {
  const Device device = x.device();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device);
  const auto scaled = [factor, device](const Tensor& from, Tensor& to) {
    in_type_of(from, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, scale, from.data<T>(), to.data<T>(), factor, from.size(), context(device));
    });
  };
  scaled(x, y);
  if (!any_requires_grad({x})) return y;
  record("scale", y, {x}, [scaled, device](const Tensor& dy, Gradients& gradients) {
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), device);
    scaled(dy, dx);
    gradients.add(0, std::move(dx));
  });
  return y;
}

Tensor flatten(const Tensor& x) {
  require<ShapeError>(x.rank() >= 2, "flatten: expected [N, …], found {}", to_string(x.shape()));
  int64_t features = 1;
  for (int64_t axis = 1; axis < x.rank(); ++axis) features *= x.dim(axis);
  return x.reshape({x.dim(0), features});
}

}  // namespace striate::ops
