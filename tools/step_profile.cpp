#include "tools/step_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/profiler.h"
#include "engine/train/trainer.h"
#include "kernels/error.h"
#include "tools/command_line.h"

namespace striate {
namespace {

constexpr int64_t kWarmUp = 2;  // the first steps allocate and touch memory

/// Leaves the first steps out and adds up the others.
class Collector : public TrainObserver {
 public:
  void step_done(const StepRecord& step) override {
    if (step.step <= kWarmUp) {
      profiler_.clear();
      return;
    }
    ++steps;
    images += step.images;
    seconds += step.seconds;
    data_seconds += step.data_seconds;
  }
  std::vector<ProfileRow> rows() const { return profiler_.rows(); }

  int64_t steps = 0, images = 0;
  double seconds = 0.0, data_seconds = 0.0;

 private:
  Profiler profiler_;
};

void print(const Collector& collector) {
  const auto steps = static_cast<double>(collector.steps);
  std::vector<ProfileRow> rows = collector.rows();
  double kernels = 0.0;
  for (const ProfileRow& row : rows) kernels += row.seconds;
  rows.push_back({"waiting for batches", "", 0, collector.data_seconds, 0.0});
  rows.push_back({"everything else", "", 0, collector.seconds - kernels - collector.data_seconds, 0.0});
  size_t kernel_width = 6, size_width = 4;
  for (const ProfileRow& row : rows) {
    kernel_width = std::max(kernel_width, row.kernel.size());
    size_width = std::max(size_width, row.size.size());
  }
  fmt::print("{:<{}}  {:<{}}  {:>5}  {:>9}  {:>6}  {:>8}\n", "kernel", kernel_width, "size", size_width, "calls",
             "ms a step", "share", "GFLOP/s");
  for (const ProfileRow& row : rows) {
    const std::string rate =
        row.flops > 0.0 ? fmt::format("{:.0f}", row.flops / std::max(row.seconds, 1e-12) / 1e9) : "";
    const std::string calls =
        row.calls > 0 ? fmt::format("{:g}", static_cast<double>(row.calls) / steps) : std::string();
    fmt::print("{:<{}}  {:<{}}  {:>5}  {:>9.3f}  {:>5.1f}%  {:>8}\n", row.kernel, kernel_width, row.size, size_width,
               calls, row.seconds / steps * 1e3, row.seconds / collector.seconds * 100.0, rate);
  }
  fmt::print("\n{:.2f} ms a step over {} steps, {:.1f} images/s\n", collector.seconds / steps * 1e3, collector.steps,
             static_cast<double>(collector.images) / collector.seconds);
}

}  // namespace

int profile_steps(Experiment& experiment, const TrainOptions& options, int64_t steps) {
  TrainOptions short_run = options;
  short_run.output.clear();
  short_run.max_steps = kWarmUp + steps;
  short_run.epochs = std::max<int64_t>(short_run.epochs, kWarmUp + steps);  // an epoch is a step at least
  TrainData data = experiment.train_data();
  data.val = data.test = nullptr;
  short_run.early_stop_patience = 0;  // there is nothing to judge by
  Collector collector;
  Trainer trainer(experiment.model(), data, short_run);
  trainer.add_observer(collector);
  const TrainResult result = trainer.run();
  if (collector.steps > 0) print(collector);
  return result.status == TrainStatus::interrupted ? kInterrupted : kDone;
}

}  // namespace striate
