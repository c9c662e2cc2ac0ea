#include "kernels/local_response_norm/local_response_norm.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "engine/saved.h"

namespace striate::ops {

Tensor local_response_norm(const Tensor& x, const LocalResponseNormOptions& options) {
  check_rank("local_response_norm", "x [N,H,W,C]", x, 4);
  const int64_t C = x.dim(3);
  const LocalResponseNormShape shape{
      x.dim(0) * x.dim(1) * x.dim(2), C, options.size, options.k, options.alpha, options.beta, options.divide_alpha};
  shape.check();
  const Device device = x.device();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device);
  in_type_of(x, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, local_response_norm_forward, x.data<T>(), y.data<T>(), shape, context(device));
  });
  if (!any_requires_grad({x})) return y;
  record("local_response_norm", y, {x}, [saved = Saved(x), shape, device](const Tensor& dy, Gradients& gradients) {
    const Tensor input = saved.get();
    Tensor dx = Tensor::empty(input.shape(), input.dtype(), device);
    in_type_of(input, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, local_response_norm_backward, input.data<T>(), dy.data<T>(), dx.data<T>(), shape,
                       context(device));
    });
    gradients.add(0, std::move(dx));
  });
  return y;
}

}  // namespace striate::ops
