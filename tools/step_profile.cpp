#include "tools/step_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/profiler.h"
#include "engine/train/atomic_file.h"
#include "engine/train/trainer.h"
#include "kernels/error.h"
#include "tools/chrome_trace.h"
#include "tools/command_line.h"
#include "tools/machine.h"

namespace striate {
namespace {

constexpr int64_t kWarmUp = 2;  // the first steps allocate and touch memory

/// Leaves the first steps out and adds up the others.
class Collector : public TrainObserver {
 public:
  void run_begins(const RunInfo& info) override { device = info.device; }
  void step_done(const StepRecord& step) override {
    if (step.step <= kWarmUp) {
      profiler_.clear();
      return;
    }
    profiler_.add_step(step.seconds);
    ++steps;
    images += step.images;
    seconds += step.seconds;
    data_seconds += step.data_seconds;
  }
  Profiler& profiler() { return profiler_; }

  Device device = Device::cpu;
  int64_t steps = 0, images = 0;
  double seconds = 0.0, data_seconds = 0.0;

 private:
  Profiler profiler_;
};

/// Tells the profile of the waits for a source's batches.
class ProfiledSource : public BatchSource {
 public:
  explicit ProfiledSource(BatchSource& source) : source_(source) {}
  int64_t samples() const override { return source_.samples(); }
  int64_t batch_size() const override { return source_.batch_size(); }
  void start(int64_t epoch, int64_t first_batch) override { source_.start(epoch, first_batch); }
  bool next(Batch& batch) override {
    const ProfileScope profiled(Pass::wait, "wait for a batch");
    return source_.next(batch);
  }

 private:
  BatchSource& source_;
};

void print(Collector& collector) {
  const auto steps = static_cast<double>(collector.steps);
  std::vector<ProfileRow> rows = collector.profiler().rows();
  double kernels = 0.0;
  for (const ProfileRow& row : rows) kernels += row.beside ? 0.0 : row.seconds;
  double waiting = collector.data_seconds;
  for (const ProfileEvent& event : collector.profiler().events()) {
    // The transforms' kernels have rows of their own.
    if (event.is_kernel && event.pass == Pass::load && event.thread == 0) waiting -= event.seconds;
  }
  rows.push_back({"waiting for batches", "", 0, waiting, 0.0});
  rows.push_back({"everything else", "", 0, collector.seconds - kernels - waiting, 0.0});
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
               calls, row.seconds / steps * 1e3, row.seconds / collector.seconds * 100.0,
               row.beside ? "  (beside the kernels)" : rate);
  }
  fmt::print("\n{:.2f} ms a step over {} steps, {:.1f} images/s\n", collector.seconds / steps * 1e3, collector.steps,
             static_cast<double>(collector.images) / collector.seconds);
}

}  // namespace

int profile_steps(Experiment& experiment, const TrainOptions& options, int64_t steps,
                  const std::filesystem::path& trace, const Ranks& ranks) {
  TrainOptions short_run = options;
  short_run.output.clear();
  short_run.max_steps = kWarmUp + steps;
  short_run.epochs = std::max<int64_t>(short_run.epochs, kWarmUp + steps);  // an epoch is a step at least
  TrainData data = experiment.train_data();
  ProfiledSource train(*data.train);
  data.train = &train;
  data.val = data.test = nullptr;
  short_run.cuda_graph = GraphMode::off;  // whose replay is one piece of work, without kernels that could be timed
  short_run.early_stop_patience = 0;      // there is nothing to judge by
  Collector collector;
  for (const nn::NamedModule& named : experiment.model().named_modules()) {
    collector.profiler().name_layer(named.module, named.name, named.module->type());
  }
  Trainer trainer(experiment.model(), data, short_run, ranks);
  trainer.add_observer(collector);
  const TrainResult result = trainer.run();
  if (collector.steps > 0 && ranks.rank() == 0) {
    if (const std::string notice = times_notice(collector.device); !notice.empty()) fmt::print("{}\n\n", notice);
    print(collector);
    Provenance facts = provenance(collector.device);
    facts.insert(facts.begin(), {"network", experiment.description()});
    write_file_atomically(trace.string(), chrome_trace(collector.profiler().events(), facts));
    fmt::print("\nTrace  {} (for chrome://tracing and ui.perfetto.dev)\n", trace.string());
  }
  return result.status == TrainStatus::interrupted ? kInterrupted : kDone;
}

}  // namespace striate
