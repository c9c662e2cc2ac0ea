#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>

#include "engine/train/observer.h"
#include "tools/experiments/metrics_table.h"

namespace striate {

/// training_metrics.png: loss and accuracy of the training and validation parts and the learning rate over the epochs,
/// three panels on one axis; the test part as a marker where it was measured. `title` says what was trained on what.
/// A fourth panel shows `circular_variance` [kernels][rows of metrics] where there is any.
void draw_training_metrics(const MetricsTable& metrics, const std::string& title, const std::filesystem::path& png,
                           const std::vector<std::vector<std::optional<double>>>& circular_variance = {});

/// Keeps the figure of a run up to date while it trains, from its metrics.csv and the tuning tables beside it: add it
/// after whoever writes those. A
/// figure that cannot be drawn is a warning, once, and no reason to stop training.
class TrainingFigure : public TrainObserver {
 public:
  TrainingFigure(std::filesystem::path metrics, std::filesystem::path png, std::string title);
  void on_warning(std::function<void(const std::string&)> warn) { warn_ = std::move(warn); }

  void epoch_done(const EpochRecord& epoch) override;
  void run_ends(const TrainResult& result) override;

 private:
  void draw();

  std::filesystem::path metrics_, png_;
  std::string title_;
  std::function<void(const std::string&)> warn_;
  bool warned_ = false;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace striate
