#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/distributed/gradient_reduction.h"
#include "engine/nn/module.h"
#include "engine/optim/optimizer.h"
#include "engine/train/batch_source.h"
#include "engine/train/step_graph.h"
#include "engine/train/step_results.h"
#include "engine/train/train_options.h"

namespace striate {

/// What a step came to.
struct StepOutcome {
  double loss_sum = 0.0;       ///< over its images
  int64_t correct = 0;         ///< of these
  float gradient_norm = 0.0f;  ///< before clipping; NaN where clipping is off
};

/// The steps of a training run: forward, loss and backward of one batch or several, and the optimizer's step. On cuda
/// nothing here waits for the device but take(), so that a step can be prepared while the last one runs.
class TrainStep {
 public:
  /// `full`: images of all batches but the last one. `on_loss` is told a batch's loss before its backward where nobody
  /// waits for it, on every device but cuda: what it throws ends the step before it moved anything. `notice` as
  /// StepGraph has it. With several ranks each trains on its rows of every batch, and all take the same step: that of
  /// one process on all of them.
  TrainStep(nn::Module& model, Optimizer& optimizer, const TrainOptions& options, int64_t full,
            std::function<void(double)> on_loss, std::function<void(const std::string&)> notice,
            const Ranks& ranks = {});
  TrainStep(const TrainStep&) = delete;
  TrainStep& operator=(const TrainStep&) = delete;

  /// Begins the step that has this number, from 0. Then one to options.accumulate batches, then finish(). Where no
  /// batch is added, nothing has happened; the optimizer's updates are the caller's to withdraw.
  void begin(int64_t step, double learning_rate);
  /// Throws ShapeError for a label that the network has no class for.
  void add(const Batch& batch) { add(batch, {0, batch.labels.size()}, false); }
  /// This rank's rows of a batch, and whether they are the step's last: with several ranks, gradients are on their way
  /// to the others while its backward goes on.
  void add(const Batch& batch, const BatchShare& share, bool is_last);
  void finish();
  /// Whether the device still works on steps when finish() returns: one more can be finished before take().
  bool runs_ahead() const;
  /// Waits for the oldest of them.
  StepOutcome take();

  const StepGraph& graph() const { return graph_; }

 private:
  bool updates_at_once() const { return accumulate_ == 1 && reduction_ == nullptr; }
  bool loss_is_of_the_step() const { return accumulate_ == 1 && (reduction_ == nullptr || logits_of_all_); }
  bool prepares_at_once() const { return loss_is_of_the_step() && max_norm_ == 0.0; }
  void train_on(const Batch& batch, const Batch& given, int64_t images);
  void check_labels_of(const Batch& batch) const;

  nn::Module& model_;
  Optimizer& optimizer_;
  Device device_;
  int64_t accumulate_, full_;
  uint64_t seed_;
  float label_smoothing_;
  std::function<void(double)> on_loss_;
  StepGraph graph_;
  StepResults results_;
  Ranks ranks_;
  std::set<std::string> shards_;                  // parameters that are divided among them, whose gradients are not
  std::unique_ptr<GradientReduction> reduction_;  // with several ranks
  bool logits_of_all_ = false;                    // the network gives every rank those of all ranks' images
  double max_norm_ = 0.0;       // of gradients that no rank has all of, measured by them together; 0: not so
  Tensor norm_;                 // [1], of the last step's
  int64_t classes_ = 0;         // of the network, known after the first forward
  std::vector<int64_t> parts_;  // images that the losses of the step that was begun are of
  int64_t images_of_all_ = 0;   // images of the step that was begun, all ranks'
  std::deque<std::vector<int64_t>> images_;  // of the batches of the steps that are pending
};

}  // namespace striate
