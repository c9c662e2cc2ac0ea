#include "engine/train/batch_loss.h"

#include <numeric>

#include "engine/dispatch.h"
#include "engine/ops/ops.h"
#include "engine/profiler.h"

namespace striate {

BatchLoss batch_loss(const Tensor& logits, const Batch& batch, float label_smoothing, StepResult* result) {
  const ProfileScope profiled(Pass::forward, {nullptr, "loss"});
  const bool mixed = batch.partner_labels.defined();
  const ops::CrossEntropy own =
      ops::softmax_cross_entropy(logits, batch.labels, label_smoothing, mixed ? nullptr : result);
  if (!mixed) return {own.loss, own.rank};
  const ops::CrossEntropy other = ops::softmax_cross_entropy(logits, batch.partner_labels, label_smoothing);
  const BatchLoss both{ops::add(ops::scale(own.loss, batch.share), ops::scale(other.loss, 1.0f - batch.share)),
                       batch.share >= 0.5f ? own.rank : other.rank};
  const Device device = logits.device();
  if (result != nullptr) {
    STRIATE_DISPATCH(device, step_result, both.loss.data<float>(), both.rank.data<int32_t>(), both.rank.size(), result,
                     context(device));
  }
  return both;
}

Tensor labels_of_all(const Tensor& labels, Communicator& host) {
  const std::vector<int64_t> bytes = host.gathered(static_cast<int64_t>(labels.bytes()));
  const int64_t all = std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
  Tensor gathered = Tensor::empty({all / static_cast<int64_t>(sizeof(int32_t))}, DType::int32);
  host.all_gather(labels.data<int32_t>(), gathered.data<int32_t>(), bytes).wait();
  return gathered;
}

}  // namespace striate
