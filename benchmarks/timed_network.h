#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/nn/module.h"
#include "engine/train/batch_source.h"
#include "engine/train/train_options.h"
#include "tools/network_flags.h"

namespace striate::bench {

/// The network that the command line names, on its device with its weights (or fresh ones), for `input` [H,W,C]. Sets
/// the number of threads.
struct TimedNetwork {
  Shape input;
  std::shared_ptr<nn::Module> model;
};
TimedNetwork build_network(const NetworkSource& source);

/// Normally distributed images [N,H,W,C] and labels 0, 1, …, by a fixed seed; the images where a loader leaves them for
/// this configuration, and of the type that it gives them.
Batch random_batch(int64_t images, const Shape& input, int64_t classes, const RunConfig& config);

/// A source as it is, until `more` says no: it is asked before every batch.
class Until : public BatchSource {
 public:
  Until(BatchSource& source, std::function<bool()> more) : source_(source), more_(std::move(more)) {}
  int64_t samples() const override { return source_.samples(); }
  int64_t batch_size() const override { return source_.batch_size(); }
  void start(int64_t epoch, int64_t first_batch) override { source_.start(epoch, first_batch); }
  bool next(Batch& batch) override { return more_() && source_.next(batch); }

 private:
  BatchSource& source_;
  std::function<bool()> more_;
};

/// The same batch for ever.
class Repeated : public BatchSource {
 public:
  explicit Repeated(Batch batch) : Repeated(batch, batch.labels.size()) {}
  /// This rank's part of a batch of `batch_size` images.
  Repeated(Batch batch, int64_t batch_size) : batch_(std::move(batch)), batch_size_(batch_size) {}
  int64_t samples() const override { return batch_size() << 32; }
  int64_t batch_size() const override { return batch_size_; }
  void start(int64_t /*epoch*/, int64_t first_batch) override { index_ = first_batch; }
  bool next(Batch& batch) override;

 private:
  Batch batch_;
  int64_t batch_size_;
  int64_t index_ = 0;
};

/// What a step took, in seconds.
struct StepTime {
  double seconds = 0.0;       ///< without the wait for its batch
  double data_seconds = 0.0;  ///< that wait
};

/// Trains with the Trainer itself until the source ends; `done` is told of every step.
void timed_training(nn::Module& model, BatchSource& source, const TrainOptions& options,
                    const std::function<void(const StepTime&)>& done, const Ranks& ranks = {});
/// Runs the network for its logits alone, as `evaluate` and `predict` do, until the source ends.
void timed_inference(nn::Module& model, BatchSource& source, Device device,
                     const std::function<void(const StepTime&)>& done);

double median(std::vector<double> values);

}  // namespace striate::bench
