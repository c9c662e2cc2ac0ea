#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/autotune.h"
#include "engine/train/checkpoint.h"
#include "engine/train/interrupt.h"
#include "engine/train/metrics.h"
#include "engine/train/train_step.h"
#include "engine/train/trainer.h"

namespace striate {

/// A run as trainer.cpp keeps it; no part of the interface.
class Trainer::Run {
 public:
  Run(nn::Module& model, const TrainData& data, const TrainOptions& options, const Ranks& ranks);
  void add_observer(TrainObserver& observer) { observers_.push_back(&observer); }
  void resume();
  TrainResult run();

 private:
  enum class EpochEnd { complete, step_limit, interrupted };

  template <typename Event>
  void tell(Event&& event) {
    for (TrainObserver* observer : observers_) event(*observer);
  }
  bool by_accuracy() const { return options_.best_by == "val_top1"; }
  bool step_limit_reached() const { return options_.max_steps > 0 && state_.step >= options_.max_steps; }
  bool early_stop_due(int64_t epoch, int64_t best_epoch) const {
    return options_.early_stop_patience > 0 && epoch - best_epoch >= options_.early_stop_patience;
  }
  double rate() const {
    return options_.distributed.rate_factor(ranks_.size()) *
           schedule_->rate(state_.epoch, state_.batch / options_.accumulate, steps_per_epoch_);
  }
  bool writes() const { return !options_.output.empty() && ranks_.rank() == 0; }
  bool to_stop() const { return options_.handle_signals && InterruptGuard::requested(); }
  std::optional<BatchShare> next_batch(StepRecord& record);
  BatchShare agree_on_batch();
  void share_buffers();
  std::string fixed_options() const;
  std::string autotune_notice() const;
  TrainResult train_to_the_end();
  void begin_folder();
  bool first_record();
  EpochEnd train_epoch();
  bool train_step();
  void finish_steps();
  void step_done(StepRecord record);
  bool finish_epoch(bool complete);
  std::optional<Evaluation> measure(const char* part, BatchSource& source);
  bool measure_test(bool current_is_best, EpochRecord& record);
  void keep_best();
  void save();
  void require_finite(double loss, const char* what, int64_t step, double learning_rate) const;
  TrainResult result(TrainStatus status) const { return {status, state_.step, state_.last}; }

  nn::Module& model_;
  TrainData data_;
  TrainOptions options_;
  Ranks ranks_;
  std::vector<TrainObserver*> observers_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Schedule> schedule_;
  Device device_;
  std::optional<TrainStep> step_;
  std::optional<StepRecord> under_way_;         // the last step, whose outcome is not taken yet
  std::chrono::steady_clock::time_point told_;  // when the last outcome was taken, or the first step after it begun
  std::unique_ptr<Autotune> autotune_;
  int64_t steps_per_epoch_ = 0;
  bool resumed_ = false;
  bool stop_ = false;  // a rank was interrupted, and all know
  RunState state_;
  std::pair<int64_t, int64_t> saved_{-1, -1};  // step and rows of the last checkpoint
  std::vector<Tensor> best_;                   // the best weights of a run without a folder
  Batch batch_;
};

}  // namespace striate
