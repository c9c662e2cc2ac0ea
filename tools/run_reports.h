#pragma once

#include <memory>
#include <string>

#include "engine/train/progress.h"
#include "engine/train/trainer.h"
#include "tools/experiment.h"
#include "tools/experiments/kernel_analysis.h"
#include "tools/run_folder.h"

namespace striate {

/// What a run leaves in its folder besides weights, and what it prints: log, metrics, TensorBoard's events, progress,
/// figures, the analysis. Of several ranks one has them.
class RunReports {
 public:
  /// Looks for what the analysis needs, and writes nothing yet. Throws ConfigError where it cannot be made.
  RunReports(Experiment& experiment, const RunConfig& config, const RunFolder& folder);
  ~RunReports();
  RunReports(const RunReports&) = delete;
  RunReports& operator=(const RunReports&) = delete;

  /// The folder as every run begins it: configuration, class names, mean image, log.
  void begin(const std::string& description, Progress::Style style = Progress::Style::automatic);
  /// Once it has begun.
  void add_to(Trainer& trainer);
  /// A line on standard output and in the log.
  void tell(const std::string& text);
  void warn(const std::string& message);
  /// Tells where everything lies, and how to go on where it was interrupted.
  void end(const TrainResult& result, int64_t broken, const std::string& program);

 private:
  struct Observers;
  Experiment& experiment_;
  const RunConfig& config_;
  RunFolder folder_;
  std::unique_ptr<KernelAnalysis> analysis_;  // null where nothing is asked for
  std::unique_ptr<Observers> observers_;
};

/// Throws IoError.
void make_folder(const RunFolder& folder);

}  // namespace striate
