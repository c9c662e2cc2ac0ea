#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "engine/train/observer.h"
#include "tools/experiments/analysis_options.h"
#include "tools/experiments/layer_responses.h"

namespace striate {

/// Keeps the first convolution's kernels and their tuning of every epoch, 0 included, in a run's folder. Add it before
/// whoever draws them over the epochs. What cannot be measured, drawn or written is a warning, once for
/// each part of it, and no reason to stop training. Training goes on bit for bit as without it.
class KernelAnalysis : public TrainObserver {
 public:
  /// The model lies on its device and outlives this. `title` says what is trained on what. Throws ConfigError where the
  /// network has no convolution, and for tuning where gratings cannot be shown to it.
  KernelAnalysis(nn::Module& model, const NetworkInput& input, const AnalysisOptions& options,
                 std::filesystem::path folder, std::string title);
  void on_warning(std::function<void(const std::string&)> warn) { warn_ = std::move(warn); }

  void run_begins(const RunInfo& info) override { device_ = info.device; }
  void epoch_done(const EpochRecord& epoch) override;
  void run_ends(const TrainResult& result) override;

 private:
  void keep_kernels(int64_t epoch);
  void measure(int64_t epoch);
  void attempt(bool& warned, const std::function<void()>& work);

  nn::Module& model_;
  ConvLayer layer_;
  NetworkInput input_;
  AnalysisOptions options_;
  std::filesystem::path folder_;
  std::string title_;
  Device device_ = Device::cpu;
  std::function<void(const std::string&)> warn_;
  bool warned_of_kernels_ = false, warned_of_tuning_ = false, warned_of_film_ = false;
};

}  // namespace striate
