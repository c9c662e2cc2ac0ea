#include "engine/train/train_options.h"

#include <map>
#include <sstream>

#include "engine/config.h"
#include "kernels/error.h"

namespace striate {

namespace {
template <typename T>
T at_least(ConfigReader& reader, const char* key, T fallback, T minimum) {
  const T value = reader.get(key, fallback);
  require<ConfigError>(value >= minimum, "{}: {}, expected {} or more", reader.where(key), value, minimum);
  return value;
}
}  // namespace

TrainOptions TrainOptions::parse(ConfigReader train) {
  TrainOptions o;
  o.epochs = at_least<int64_t>(train, "epochs", o.epochs, 0);
  o.max_steps = at_least<int64_t>(train, "max_steps", o.max_steps, 0);
  o.batch_size = at_least<int64_t>(train, "batch_size", o.batch_size, 1);
  o.accumulate = at_least<int64_t>(train, "accumulate", o.accumulate, 1);
  o.precision = parse_precision(train.choice("precision", "fp32", {"fp32", "tf32", "bf16"}));
  const std::string graph = train.choice("cuda_graph", "auto", {"auto", "true", "false"});
  o.cuda_graph = graph == "auto" ? GraphMode::automatic : graph == "true" ? GraphMode::on : GraphMode::off;
  o.autotune = train.get("autotune", o.autotune);
  o.learning_rate = at_least<double>(train, "learning_rate", o.learning_rate, 0.0);
  o.optimizer = OptimizerConfig::parse(train.section("optimizer"));
  o.schedule = ScheduleConfig::parse(train.section("schedule"));
  o.label_smoothing = at_least<double>(train, "label_smoothing", o.label_smoothing, 0.0);
  require<ConfigError>(o.label_smoothing < 1.0, "{}: {}, expected less than 1", train.where("label_smoothing"),
                       o.label_smoothing);
  o.clip_grad_norm = at_least<double>(train, "clip_grad_norm", o.clip_grad_norm, 0.0);
  o.recompute = train.get("recompute", o.recompute);
  o.best_by = train.choice("best_by", o.best_by, {"val_loss", "val_top1"});
  o.early_stop_patience = at_least<int64_t>(train, "early_stop_patience", o.early_stop_patience, 0);
  o.print_every = at_least<int64_t>(train, "print_every", o.print_every, 1);
  o.save_every = at_least<int64_t>(train, "save_every", o.save_every, 1);
  o.save_every_steps = at_least<int64_t>(train, "save_every_steps", o.save_every_steps, 0);
  o.submission = train.get("submission", "");
  train.finish();
  return o;
}

std::string TrainOptions::fixed_by_resume() const {
  std::string text;
  const auto add = [&](const char* key, const auto& value) { text += fmt::format("{}={}\n", key, value); };
  add("seed", seed);
  add("model", model_name);
  add("train.batch_size", batch_size);
  add("train.accumulate", accumulate);
  add("train.precision", to_string(precision));
  if (autotune) add("train.autotune", true);  // other tiles sum in another order
  add("train.learning_rate", learning_rate);
  add("train.label_smoothing", label_smoothing);
  add("train.clip_grad_norm", clip_grad_norm);
  add("train.best_by", best_by);
  add("train.optimizer.name", optimizer.name);
  add("train.optimizer.weight_decay", optimizer.weight_decay);
  if (optimizer.name == "sgd" || optimizer.name == "rmsprop") add("train.optimizer.momentum", optimizer.momentum);
  if (optimizer.name == "sgd") {
    add("train.optimizer.nesterov", optimizer.nesterov);
    add("train.optimizer.update", optimizer.update);
  } else {
    add("train.optimizer.eps", optimizer.eps);
  }
  if (optimizer.name == "adam" || optimizer.name == "adamw") {
    add("train.optimizer.betas", fmt::format("[{}, {}]", optimizer.beta1, optimizer.beta2));
  }
  if (optimizer.name == "rmsprop") add("train.optimizer.alpha", optimizer.alpha);
  add("train.schedule.name", schedule.name);
  if (schedule.name == "steps") {
    std::string table;
    for (const auto& [epoch, rate] : schedule.steps)
      table += fmt::format("{}{}: {}", table.empty() ? "" : ", ", epoch, rate);
    add("train.schedule.steps", "{" + table + "}");
  } else if (schedule.name == "step") {
    add("train.schedule.size", schedule.size);
    add("train.schedule.gamma", schedule.gamma);
  } else if (schedule.name == "cosine") {
    add("train.epochs", epochs);
    add("train.schedule.warmup_epochs", schedule.warmup_epochs);
    add("train.schedule.warmup_rate", schedule.warmup_rate);
    add("train.schedule.minimum_rate", schedule.minimum_rate);
  } else if (schedule.name == "plateau") {
    add("train.schedule.factor", schedule.factor);
    add("train.schedule.patience", schedule.patience);
    add("train.schedule.minimum_rate", schedule.minimum_rate);
  }
  return text + distributed.fixed_by_resume() + fixed;
}

std::string differing_options(const std::string& in_the_run, const std::string& now) {
  const auto parse = [](const std::string& text) {
    std::map<std::string, std::string> values;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const size_t split = line.find('=');
      if (split != std::string::npos) values[line.substr(0, split)] = line.substr(split + 1);
    }
    return values;
  };
  auto old_values = parse(in_the_run), new_values = parse(now);
  // The first runs knew no other precision, and did not name it.
  for (auto* values : {&old_values, &new_values}) values->try_emplace("train.precision", "fp32");
  for (const auto& [key, value] : new_values) {
    // A run knows every key of its network and data: what it lacks is younger than the run, and at its default then.
    const bool is_younger = key.starts_with("model.") || key.starts_with("data.");
    old_values.try_emplace(key, is_younger ? value : "absent");
  }
  for (const auto& [key, value] : old_values) new_values.try_emplace(key, "absent");
  std::string text;
  for (const auto& [key, value] : old_values) {
    if (new_values[key] != value) text += fmt::format("\n  {}: {} in the run, {} now", key, value, new_values[key]);
  }
  const std::string before = old_values["train.epochs"], after = new_values["train.epochs"];
  if (before != after && before != "absent" && after != "absent") {
    text +=
        "\nA cosine schedule ends with its epochs and cannot be made longer; --init WEIGHTS starts a new run from this "
        "one's weights.";
  }
  return text;
}

}  // namespace striate
