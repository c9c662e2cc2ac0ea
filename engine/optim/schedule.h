#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace striate {

class ConfigReader;

/// The learning rate over a run.
class Schedule {
 public:
  virtual ~Schedule() = default;
  /// `epoch` from 1, `step` within the epoch from 0.
  virtual double rate(int64_t epoch, int64_t step, int64_t steps_per_epoch) const = 0;
  /// Told after every epoch what is watched, smaller being better: the validation loss, or the error rate.
  virtual void observe(double /*value*/) {}
  /// What observe() has left behind, for a checkpoint.
  virtual std::vector<double> state() const { return {}; }
  virtual void load_state(const std::vector<double>& /*state*/) {}
};

/// `train.schedule`, R being `train.learning_rate`.
///   constant  R
///   steps     the rate of the largest epoch of the table that is not above the current one; R before the first
///   step      R·gamma^⌊(epoch − 1)/size⌋
///   cosine    per step, t = epochs passed: linear from warmup_rate to R over warmup_epochs, then
///             minimum + (R − minimum)·(1 + cos(π·(t − warmup)/(epochs − warmup)))/2   (Loshchilov & Hutter 2017)
///   plateau   R times factor each time that `patience` + 1 epochs in a row brought no improvement by more than 1e-4 of
///             the best value; never below minimum_rate (PyTorch's ReduceLROnPlateau)
struct ScheduleConfig {
  std::string name = "constant";
  std::map<int64_t, double> steps;
  int64_t size = 30;
  double gamma = 0.1;
  double warmup_epochs = 0.0, warmup_rate = 0.0, minimum_rate = 0.0;
  double factor = 0.1;
  int64_t patience = 10;

  /// A map with `steps` and no name is the table. Throws ConfigError, with file and line.
  static ScheduleConfig parse(ConfigReader reader);
};

/// Throws ConfigError for an unknown name or values that make no sense.
std::unique_ptr<Schedule> make_schedule(const ScheduleConfig& config, double learning_rate, int64_t epochs);

}  // namespace striate
