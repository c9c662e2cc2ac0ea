#include "engine/train/batch_loss.h"

#include "engine/ops/ops.h"
#include "engine/profiler.h"

namespace striate {

BatchLoss batch_loss(const Tensor& logits, const Batch& batch, float label_smoothing) {
  const ProfileScope profiled(Pass::forward, {nullptr, "loss"});
  const ops::CrossEntropy own = ops::softmax_cross_entropy(logits, batch.labels, label_smoothing);
  if (!batch.partner_labels.defined()) return {own.loss, own.rank};
  const ops::CrossEntropy other = ops::softmax_cross_entropy(logits, batch.partner_labels, label_smoothing);
  return {ops::add(ops::scale(own.loss, batch.share), ops::scale(other.loss, 1.0f - batch.share)),
          batch.share >= 0.5f ? own.rank : other.rank};
}

}  // namespace striate
