#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "engine/device.h"

namespace striate {

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// What a run is, told as it begins.
struct RunInfo {
  Device device = Device::cpu;
  int64_t parameters = 0;
  int64_t train_images = 0, val_images = 0, test_images = 0;
  int64_t epochs = 0, steps_per_epoch = 0, max_steps = 0;
  std::string best_by;
  bool resumed = false;
  int64_t step = 0;  ///< optimizer steps done before
  int64_t rows = 0;  ///< epoch records done before, that of epoch 0 included
};

/// One optimizer step.
struct StepRecord {
  int64_t step = 0;   ///< in the run, from 1
  int64_t epoch = 0;  ///< from 1
  int64_t step_in_epoch = 0, steps_per_epoch = 0;
  int64_t images = 0;
  double loss = 0.0, top1 = 0.0;              ///< of this step's images
  double epoch_loss = 0.0, epoch_top1 = 0.0;  ///< over the epoch so far
  double learning_rate = 0.0;
  double gradient_norm = kNotMeasured;  ///< before clipping; measured where clipping is on
  double seconds = 0.0;                 ///< the whole step
  double data_seconds = 0.0;            ///< of these, spent waiting for batches
  size_t memory_bytes = 0;              ///< peak of the device's allocator so far
};

/// A row of metrics.csv; NaN where not measured.
struct EpochRecord {
  int64_t epoch = 0;                                            ///< 0: before training
  double learning_rate = kNotMeasured;                          ///< of the epoch's last step
  double train_loss = kNotMeasured, train_top1 = kNotMeasured;  ///< means while training, label smoothing included
  double val_loss = kNotMeasured, val_top1 = kNotMeasured, val_top5 = kNotMeasured, val_macro_f1 = kNotMeasured;
  double test_loss = kNotMeasured, test_top1 = kNotMeasured;  ///< last record, with the best weights
  double images_per_second = kNotMeasured;                    ///< while training
  double seconds = kNotMeasured;                              ///< training and evaluation
  int64_t step = 0;                                           ///< optimizer steps done
  int64_t best_epoch = 0;                                     ///< 0: none yet
  double best_value = kNotMeasured;                           ///< of what best_by names
  bool is_best = false;
};

enum class TrainStatus { finished, early_stopped, interrupted };

struct TrainResult {
  TrainStatus status = TrainStatus::finished;
  int64_t steps = 0;
  EpochRecord last;  ///< the last record of the run
};

/// Is told what happens in a run; does nothing by itself.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void run_begins(const RunInfo& /*info*/) {}
  /// On cuda the device may be working on the step after it already.
  virtual void step_done(const StepRecord& /*step*/) {}
  /// `part` is "val" or "test".
  virtual void evaluation_progress(const std::string& /*part*/, int64_t /*done*/, int64_t /*total*/) {}
  /// The network holds the weights that the record is about; figures of them can be made here.
  virtual void epoch_done(const EpochRecord& /*epoch*/) {}
  /// A checkpoint of that step is about to be committed: whatever was reported up to it must be on disk after this.
  virtual void checkpoint_begins(int64_t /*step*/) {}
  virtual void run_ends(const TrainResult& /*result*/) {}
  virtual void warning(const std::string& /*message*/) {}
  /// Something to know that asks for nothing.
  virtual void notice(const std::string& /*message*/) {}
};

}  // namespace striate
