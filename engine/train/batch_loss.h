#pragma once

#include "engine/distributed/communicator.h"
#include "engine/tensor.h"
#include "engine/train/batch_source.h"
#include "kernels/step_result/step_result.h"

namespace striate {

struct BatchLoss {
  Tensor loss;  ///< [1]: mean over the batch
  Tensor rank;  ///< [N] int32: place of the class with the larger share among the sorted logits, 0 = top-1
};

/// The cross-entropy that a batch is trained on. Where its images are mixed from two, the label is as soft as they are:
/// −Σ (λ·y + (1 − λ)·y')·log p = λ·CE(y) + (1 − λ)·CE(y'), two losses on the same logits [N, classes].
/// `result`, where it is not null, lies in the device's memory and is told the loss and how many ranks are 0.
BatchLoss batch_loss(const Tensor& logits, const Batch& batch, float label_smoothing, StepResult* result = nullptr);

/// [N] int32 of this rank's part of a batch → those of all ranks' parts one behind the other, on every rank.
Tensor labels_of_all(const Tensor& labels, Communicator& host);

}  // namespace striate
