#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/train/observer.h"

namespace striate {

/// Writes a run's curves for TensorBoard: `events.out.tfevents.TIME.striate` in its folder, records framed with masked
/// CRC32C as TFRecord has it. Scalars: train/loss and train/learning_rate by step, train/ and val/ metrics by epoch.
class EventFile : public TrainObserver {
 public:
  /// Throws IoError.
  explicit EventFile(const std::string& folder);
  ~EventFile() override;

  void run_begins(const RunInfo& info) override;
  void step_done(const StepRecord& step) override;
  void epoch_done(const EpochRecord& epoch) override;
  void checkpoint_begins(int64_t step) override;
  void run_ends(const TrainResult& result) override;

  void add_scalar(const std::string& tag, int64_t step, double value);
  const std::string& path() const;

 private:
  struct Writer;
  std::unique_ptr<Writer> writer_;
};

}  // namespace striate
