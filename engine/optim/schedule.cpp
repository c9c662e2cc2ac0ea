#include "engine/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "engine/config.h"
#include "kernels/error.h"

namespace striate {

namespace {
const std::vector<std::string> kSchedules = {"constant", "steps", "step", "cosine", "plateau"};

class Constant : public Schedule {
 public:
  explicit Constant(double rate) : rate_(rate) {}
  double rate(int64_t, int64_t, int64_t) const override { return rate_; }

 private:
  double rate_;
};

class Table : public Schedule {
 public:
  Table(double first, std::map<int64_t, double> steps) : first_(first), steps_(std::move(steps)) {}
  double rate(int64_t epoch, int64_t, int64_t) const override {
    const auto next = steps_.upper_bound(epoch);
    return next == steps_.begin() ? first_ : std::prev(next)->second;
  }

 private:
  double first_;
  std::map<int64_t, double> steps_;
};

class Step : public Schedule {
 public:
  Step(double rate, int64_t size, double gamma) : rate_(rate), size_(size), gamma_(gamma) {}
  double rate(int64_t epoch, int64_t, int64_t) const override {
    return rate_ * std::pow(gamma_, static_cast<double>((epoch - 1) / size_));
  }

 private:
  double rate_;
  int64_t size_;
  double gamma_;
};

class Cosine : public Schedule {
 public:
  Cosine(double rate, double epochs, const ScheduleConfig& config)
      : rate_(rate),
        epochs_(epochs),
        warmup_(config.warmup_epochs),
        warmup_rate_(config.warmup_rate),
        minimum_(config.minimum_rate) {}
  double rate(int64_t epoch, int64_t step, int64_t steps_per_epoch) const override {
    const double passed =
        static_cast<double>(epoch - 1) + static_cast<double>(step) / static_cast<double>(steps_per_epoch);
    if (passed < warmup_) return warmup_rate_ + (rate_ - warmup_rate_) * passed / warmup_;
    const double part = std::min(1.0, (passed - warmup_) / (epochs_ - warmup_));
    return minimum_ + (rate_ - minimum_) * 0.5 * (1.0 + std::cos(std::numbers::pi * part));
  }

 private:
  double rate_, epochs_, warmup_, warmup_rate_, minimum_;
};

class Plateau : public Schedule {
 public:
  Plateau(double rate, const ScheduleConfig& config)
      : rate_(rate), factor_(config.factor), minimum_(config.minimum_rate), patience_(config.patience) {}
  double rate(int64_t, int64_t, int64_t) const override { return rate_; }
  void observe(double value) override {
    constexpr double kThreshold = 1e-4;  // PyTorch's default
    if (value < best_ * (1.0 - kThreshold)) {
      best_ = value;
      bad_epochs_ = 0;
    } else if (++bad_epochs_ > patience_) {
      rate_ = std::max(minimum_, rate_ * factor_);
      bad_epochs_ = 0;
    }
  }
  std::vector<double> state() const override { return {rate_, best_, static_cast<double>(bad_epochs_)}; }
  void load_state(const std::vector<double>& state) override {
    require<ConfigError>(state.size() == 3, "plateau schedule: a state of {} numbers, expected 3", state.size());
    rate_ = state[0];
    best_ = state[1];
    bad_epochs_ = static_cast<int64_t>(state[2]);
  }

 private:
  double rate_, factor_, minimum_;
  int64_t patience_;
  double best_ = std::numeric_limits<double>::infinity();
  int64_t bad_epochs_ = 0;
};

int64_t parse_epoch(const ConfigReader& table, const std::string& key) {
  const bool digits = !key.empty() && key.size() < 10 &&
                      std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
  require<ConfigError>(digits && std::stoll(key) > 0, "{}: '{}' is not an epoch; epochs count from 1", table.where(key),
                       key);
  return std::stoll(key);
}
}  // namespace

ScheduleConfig ScheduleConfig::parse(ConfigReader reader) {
  ScheduleConfig c;
  c.name = reader.choice("name", reader.has("steps") ? "steps" : c.name, kSchedules);
  ConfigReader table = reader.section("steps");
  for (const std::string& key : table.keys()) c.steps[parse_epoch(table, key)] = table.get(key, 0.0);
  table.finish();
  c.size = reader.get("size", c.size);
  c.gamma = reader.get("gamma", c.gamma);
  c.warmup_epochs = reader.get("warmup_epochs", c.warmup_epochs);
  c.warmup_rate = reader.get("warmup_rate", c.warmup_rate);
  c.minimum_rate = reader.get("minimum_rate", c.minimum_rate);
  c.factor = reader.get("factor", c.factor);
  c.patience = reader.get("patience", c.patience);
  reader.finish();
  for (const auto& [epoch, rate] : c.steps) {
    require<ConfigError>(rate >= 0, "{}: rate {}, expected 0 or more", table.where(std::to_string(epoch)), rate);
  }
  return c;
}

std::unique_ptr<Schedule> make_schedule(const ScheduleConfig& config, double learning_rate, int64_t epochs) {
  if (config.name == "constant") return std::make_unique<Constant>(learning_rate);
  if (config.name == "steps") {
    require<ConfigError>(!config.steps.empty(), "schedule steps: no table; give steps: {{1: 0.01, 16: 0.001}}");
    return std::make_unique<Table>(learning_rate, config.steps);
  }
  if (config.name == "step") {
    require<ConfigError>(config.size > 0 && config.gamma > 0,
                         "schedule step: size {} and gamma {}, both must be above 0", config.size, config.gamma);
    return std::make_unique<Step>(learning_rate, config.size, config.gamma);
  }
  if (config.name == "cosine") {
    const auto length = static_cast<double>(epochs);
    require<ConfigError>(config.warmup_epochs >= 0 && config.warmup_epochs < std::max(length, 1.0),
                         "schedule cosine: {} warm-up epochs, expected fewer than the run's {}", config.warmup_epochs,
                         epochs);
    require<ConfigError>(config.warmup_rate >= 0 && config.minimum_rate >= 0 && config.minimum_rate <= learning_rate,
                         "schedule cosine: warmup_rate {} and minimum_rate {}, expected 0 or more, the minimum at most "
                         "learning_rate, {}",
                         config.warmup_rate, config.minimum_rate, learning_rate);
    return std::make_unique<Cosine>(learning_rate, length, config);
  }
  if (config.name == "plateau") {
    require<ConfigError>(
        config.factor > 0 && config.factor < 1 && config.patience >= 0 && config.minimum_rate >= 0,
        "schedule plateau: factor {}, patience {}, minimum_rate {}; expected a factor in (0, 1) and the "
        "others 0 or more",
        config.factor, config.patience, config.minimum_rate);
    return std::make_unique<Plateau>(learning_rate, config);
  }
  throw ConfigError(fmt::format("no schedule '{}'; there are {}", config.name, fmt::join(kSchedules, ", ")));
}

}  // namespace striate
