#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

#include "engine/autograd.h"
#include "engine/dispatch.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"
#include "kernels/error.h"
#include "kernels/softmax_cross_entropy/check.h"

namespace striate::ops {

Tensor softmax(const Tensor& given_logits) {
  check_rank("softmax", "logits [N,classes]", given_logits, 2);
  const Tensor logits = given_logits.detach().to(DType::float32);
  const Device device = logits.device();
  Tensor probabilities = Tensor::empty(logits.shape(), DType::float32, device);
  STRIATE_DISPATCH(device, softmax_forward, logits.data<float>(), probabilities.data<float>(), logits.dim(0),
                   logits.dim(1), context(device));
  return probabilities;
}

CrossEntropy softmax_cross_entropy(const Tensor& logits, const Tensor& given_labels, float label_smoothing,
                                   StepResult* told) {
  check_rank("softmax_cross_entropy", "logits [N,classes]", logits, 2);
  const int64_t N = logits.dim(0);
  require<ShapeError>(given_labels.shape() == Shape{N} && given_labels.dtype() == DType::int32,
                      "softmax_cross_entropy: logits {} need labels [{}] of int32, found {} of {}",
                      to_string(logits.shape()), N, to_string(given_labels.shape()), to_string(given_labels.dtype()));
  const SoftmaxCrossEntropyShape shape{N, logits.dim(1), label_smoothing};
  shape.check();
  const Device device = logits.device();
  // Where kernels cannot throw, labels are looked at before they leave the host.
  if (!on_host(device) && on_host(given_labels.device())) check_labels(given_labels.data<int32_t>(), shape);
  const Tensor labels = given_labels.to(device);

  CrossEntropy result{Tensor::empty({1}, DType::float32, device), Tensor::empty({N}, DType::float32, device),
                      Tensor::empty({N}, DType::int32, device)};
  Tensor row_max = Tensor::empty({N}, DType::float32, device);
  Tensor log_sum = Tensor::empty({N}, DType::float32, device);
  in_type_of(logits, [&]<typename T>(T) {
    STRIATE_DISPATCH(device, softmax_cross_entropy_forward, logits.data<T>(), labels.data<int32_t>(),
                     result.loss.data<float>(), result.sample_loss.data<float>(), row_max.data<float>(),
                     log_sum.data<float>(), result.rank.data<int32_t>(), told, shape, context(device));
  });
  if (!any_requires_grad({logits})) return result;
  record(
      "softmax_cross_entropy", result.loss, {logits},
      [logits = logits.detach(), labels, row_max, log_sum, shape, device](const Tensor& dloss, Gradients& gradients) {
        Tensor dlogits = Tensor::empty(logits.shape(), logits.dtype(), device);
        in_type_of(logits, [&]<typename T>(T) {
          STRIATE_DISPATCH(device, softmax_cross_entropy_backward, logits.data<T>(), labels.data<int32_t>(),
                           row_max.data<float>(), log_sum.data<float>(), dloss.data<float>(), dlogits.data<T>(), shape,
                           context(device));
        });
        gradients.add(0, std::move(dlogits));
      });
  return result;
}

}  // namespace striate::ops
