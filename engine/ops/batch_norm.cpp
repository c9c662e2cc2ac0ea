#include "kernels/batch_norm/batch_norm.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/distributed/communicator.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "engine/ops/synchronised_batch_norm.h"
#include "engine/saved.h"
#include "kernels/error.h"

namespace striate::ops {

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean, Tensor& running_var,
                  bool training, float momentum, float epsilon, Communicator* ranks) {
  require<ShapeError>(x.rank() >= 2, "batch_norm: expected x [..,C], found {}", to_string(x.shape()));
  const int64_t C = x.dim(-1);
  for (const Tensor* t :
       {&gamma, &beta, static_cast<const Tensor*>(&running_mean), static_cast<const Tensor*>(&running_var)}) {
    require<ShapeError>(t->shape() == Shape{C},
                        "batch_norm: x {} needs gamma, beta and running statistics [{}], found {}",
                        to_string(x.shape()), C, to_string(t->shape()));
    check_same_device("batch_norm", x, *t);
    check_parameter("batch_norm", "one of gamma, beta and the running statistics", *t);
  }
  const BatchNormShape shape{C > 0 ? x.size() / C : 0, C, epsilon, momentum};
  shape.check();
  if (training && ranks != nullptr && ranks->size() > 1) {
    return synchronised_batch_norm(x, gamma, beta, running_mean, running_var, shape, *ranks);
  }
  const Device device = x.device();

  Tensor y = Tensor::empty(x.shape(), x.dtype(), device);
  Tensor mean, inv_std = Tensor::empty({C}, DType::float32, device);
  if (training && shape.rows == 0) {  // a rank that got no images: there is nothing to learn from
    mean = inv_std = Tensor::zeros({C}, DType::float32, device);
  } else if (training) {
    mean = Tensor::empty({C}, DType::float32, device);
    in_type_of(x, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, batch_norm_forward_train, x.data<T>(), gamma.data<float>(), beta.data<float>(),
                       y.data<T>(), mean.data<float>(), inv_std.data<float>(), running_mean.data<float>(),
                       running_var.data<float>(), shape, context(device));
    });
  } else {
    in_type_of(x, [&]<typename T>(T) {
      STRIATE_DISPATCH(device, batch_norm_forward_eval, x.data<T>(), gamma.data<float>(), beta.data<float>(),
                       std::as_const(running_mean).data<float>(), std::as_const(running_var).data<float>(), y.data<T>(),
                       inv_std.data<float>(), shape, context(device));
    });
  }
  if (!any_requires_grad({x, gamma, beta})) return y;
  // A copy: a later forward in training mode may move the running mean before this one's backward.
  if (!training) mean = running_mean.detach().clone();

  record("batch_norm", y, {x, gamma, beta},
         [saved = Saved(x), gamma = gamma.detach(), mean, inv_std, shape, training, device](const Tensor& dy,
                                                                                            Gradients& gradients) {
           const Tensor input = saved.get();
           Tensor dx;
           if (gradients.wants(0)) dx = Tensor::empty(input.shape(), input.dtype(), device);
           WeightGradients dw(gradients, gamma.shape(), shape.C, device);
           in_type_of(input, [&]<typename T>(T) {
             STRIATE_DISPATCH(device, batch_norm_backward, input.data<T>(), dy.data<T>(), gamma.data<float>(),
                              mean.data<float>(), inv_std.data<float>(), data_or_null<T>(dx),
                              dw.wanted() ? dw.weight() : nullptr, dw.bias(), shape, training, dw.accumulate(),
                              context(device));
           });
           if (dx.defined()) gradients.add(0, std::move(dx));
         });
  if (training && shape.rows > 0) {
    // The same pass once more, with statistics that nobody looks at: theirs and y's bits are the first one's.
    recomputable(y, [from = Saved(x), gamma = gamma.detach(), beta = beta.detach(), shape, device] {
      const Tensor given = from.get();
      Tensor to = Tensor::empty(given.shape(), given.dtype(), device);
      const int64_t pitch = (shape.C + 15) / 16 * 16;  // every row as aligned as a tensor
      Tensor statistics = Tensor::zeros({4, pitch}, DType::float32, device);
      float* row = statistics.data<float>();
      in_type_of(given, [&]<typename T>(T) {
        STRIATE_DISPATCH(device, batch_norm_forward_train, given.data<T>(), gamma.data<float>(), beta.data<float>(),
                         to.data<T>(), row, row + pitch, row + 2 * pitch, row + 3 * pitch, shape, context(device));
      });
      return to;
    });
  }
  return y;
}

}  // namespace striate::ops
