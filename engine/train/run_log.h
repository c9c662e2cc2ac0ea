#pragma once

#include <memory>
#include <string>

#include "engine/train/observer.h"

namespace striate {

/// Keeps metrics.csv, steps.csv and log.txt of a run's folder, a line at a time. A resumed run's files are first cut
/// back to its checkpoint, so that they end as if it had never stopped (but for the time columns).
class RunLog : public TrainObserver {
 public:
  /// The folder is made where it is missing. Throws IoError.
  explicit RunLog(const std::string& folder);
  ~RunLog() override;

  void run_begins(const RunInfo& info) override;
  void step_done(const StepRecord& step) override;
  void epoch_done(const EpochRecord& epoch) override;
  void checkpoint_begins(int64_t step) override;
  void run_ends(const TrainResult& result) override;
  void warning(const std::string& message) override;
  void notice(const std::string& message) override { note(message); }
  /// A line of the caller's in log.txt.
  void note(const std::string& message);

 private:
  struct Files;
  std::unique_ptr<Files> files_;
};

}  // namespace striate
