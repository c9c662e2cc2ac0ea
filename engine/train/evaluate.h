#pragma once

#include <cstdint>
#include <functional>

#include "engine/nn/module.h"
#include "engine/train/batch_source.h"
#include "engine/train/metrics.h"

namespace striate {

struct EvaluateOptions {
  /// Called after every batch with the images done and in all; returning false ends the evaluation early.
  std::function<bool(int64_t done, int64_t total)> progress;
  /// Sees every batch and its logits [N, classes], float32 whatever the precision, in order: predictions or
  /// probabilities per image. With logits_of_all they are of all ranks' images.
  std::function<void(const Batch& batch, const Tensor& logits)> on_batch;
  /// Where the source gives each rank its part of every batch: evaluate() is of all ranks' images then, on every rank.
  Communicator* ranks = nullptr;
  /// The network gives every rank the logits of all ranks' images (one weird trick).
  bool logits_of_all = false;
};

/// Runs the network over a source from its first batch, in evaluation mode and without recording, for what
/// options.on_batch makes of it; labels are not looked at.
void infer(nn::Module& model, BatchSource& source, Device device, const EvaluateOptions& options);

/// Runs the network over a source from its first batch, in evaluation mode and without recording; the mode is restored
/// after. Throws ShapeError where a label does not fit the logits, Error where the source is empty.
Evaluation evaluate(nn::Module& model, BatchSource& source, Device device, const EvaluateOptions& options = {});

}  // namespace striate
