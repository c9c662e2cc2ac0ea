#include "engine/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "engine/distributed/sharding.h"
#include "engine/train/train_options.h"
#include "engine/train/weights.h"
#include "kernels/error.h"

namespace striate {

namespace fs = std::filesystem;

namespace {
constexpr const char* kResumePrefix = "resume-";
constexpr const char* kExtension = ".safetensors";

std::string write_text(int64_t value) { return fmt::format("{}", value); }
std::string write_text(double value) { return fmt::format("{}", value); }  // the shortest text that reads back the same
std::string write_text(bool value) { return value ? "1" : "0"; }
std::string write_text(const std::string& value) { return value; }
std::string write_text(const std::vector<double>& values) { return fmt::format("{}", fmt::join(values, " ")); }

void read_text(const std::string& text, int64_t& value) { value = std::strtoll(text.c_str(), nullptr, 10); }
void read_text(const std::string& text, double& value) { value = std::strtod(text.c_str(), nullptr); }
void read_text(const std::string& text, bool& value) { value = text == "1"; }
void read_text(const std::string& text, std::string& value) { value = text; }
void read_text(const std::string& text, std::vector<double>& values) {
  values.clear();
  const char* next = text.c_str();
  char* end = nullptr;
  for (double value = std::strtod(next, &end); end != next; value = std::strtod(next, &end)) {
    values.push_back(value);
    next = end;
  }
}

// Every field under its name, for writing and reading alike.
template <typename State, typename Visitor>
void visit_fields(State& s, Visitor&& visit) {
  visit("step", s.step);
  visit("epoch", s.epoch);
  visit("batch", s.batch);
  visit("rows", s.rows);
  visit("loss_sum", s.loss_sum);
  visit("correct", s.correct);
  visit("images", s.images);
  visit("train_seconds", s.train_seconds);
  visit("seconds", s.seconds);
  visit("best_epoch", s.best_epoch);
  visit("best_value", s.best_value);
  visit("schedule", s.schedule);
  visit("options", s.options);
  auto& l = s.last;
  visit("last.epoch", l.epoch);
  visit("last.learning_rate", l.learning_rate);
  visit("last.train_loss", l.train_loss);
  visit("last.train_top1", l.train_top1);
  visit("last.val_loss", l.val_loss);
  visit("last.val_top1", l.val_top1);
  visit("last.val_top5", l.val_top5);
  visit("last.val_macro_f1", l.val_macro_f1);
  visit("last.test_loss", l.test_loss);
  visit("last.test_top1", l.test_top1);
  visit("last.images_per_second", l.images_per_second);
  visit("last.seconds", l.seconds);
  visit("last.step", l.step);
  visit("last.best_epoch", l.best_epoch);
  visit("last.best_value", l.best_value);
  visit("last.is_best", l.is_best);
}

void require_finite(const nn::Module& model, int64_t step) {
  for (const NamedTensor& t : named_weights(model)) {
    if (t.tensor.dtype() != DType::float32) continue;
    const Tensor host = t.tensor.to(Device::cpu);
    const float* values = host.data<float>();
    const bool finite = std::all_of(values, values + host.size(), [](float v) { return std::isfinite(v); });
    require<Error>(finite, "after step {} {} has values that are not finite; no checkpoint was made of it", step,
                   t.name);
  }
}

// Resume files that no checkpoint names, and what a kill left half-written.
void remove_leftovers(const std::string& folder, const std::string& resume_name) {
  std::error_code ignored;
  std::vector<fs::path> stale;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool partial = name.ends_with(std::string(kExtension) + ".partial");
    const bool resume = name.starts_with(kResumePrefix) && name.ends_with(kExtension) && name != resume_name;
    if (partial || resume) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) fs::remove(path, ignored);
}
}  // namespace

std::string last_weights_path(const std::string& folder) { return (fs::path(folder) / "last.safetensors").string(); }
std::string best_weights_path(const std::string& folder) { return (fs::path(folder) / "best.safetensors").string(); }

void save_checkpoint(const std::string& folder, const nn::Module& model, const Optimizer& optimizer,
                     const RunState& state, const Metadata& metadata, const Ranks& ranks) {
  require_finite(model, state.step);
  Metadata resume;
  visit_fields(state, [&](const char* key, const auto& value) { resume[key] = write_text(value); });
  resume["optimizer"] = optimizer.name();
  // Rows too: the evaluation after an epoch's last step makes another state of the same step.
  const std::string resume_name = fmt::format("{}{}-{}{}", kResumePrefix, state.step, state.rows, kExtension);
  const std::vector<NamedTensor> own = optimizer.state();
  const std::vector<NamedTensor> whole = whole_tensors(own, shards_of_state(own, model.named_shards()), ranks);
  if (ranks.rank() == 0) write_safetensors((fs::path(folder) / resume_name).string(), whole, resume);

  Metadata weights = metadata;
  weights["step"] = write_text(state.step);
  weights["epoch"] = write_text(state.epoch);
  weights["resume"] = resume_name;
  save_weights(last_weights_path(folder), model, weights, ranks);
  if (ranks.rank() == 0) remove_leftovers(folder, resume_name);
}

RunState load_checkpoint(const std::string& folder, nn::Module& model, Optimizer& optimizer, const std::string& options,
                         const Ranks& ranks) {
  const std::string last = last_weights_path(folder);
  require<IoError>(fs::exists(last), "{}: no checkpoint to resume from ({} is missing)", folder, last);
  const Metadata metadata = read_safetensors_metadata(last);
  const auto named = metadata.find("resume");
  require<IoError>(named != metadata.end() && fs::path(named->second).filename() == named->second,
                   "{}: names no resume file; it holds weights alone: start from it with --init", last);
  const std::string resume_path = (fs::path(folder) / named->second).string();
  const Safetensors resume = read_safetensors(resume_path);
  RunState state;
  visit_fields(state, [&](const char* key, auto& value) {
    const auto it = resume.metadata.find(key);
    require<IoError>(it != resume.metadata.end(), "{}: '{}' is missing from the run's state", resume_path, key);
    read_text(it->second, value);
  });
  const auto step = metadata.find("step");
  require<IoError>(step != metadata.end() && step->second == write_text(state.step),
                   "{}: the state of step {}, but {} holds the weights of step {}", resume_path, state.step, last,
                   step == metadata.end() ? "?" : step->second);
  const std::string different = options.empty() ? "" : differing_options(state.options, options);
  require<ConfigError>(different.empty(), "{}: cannot be resumed with other options:{}", folder, different);
  require<ConfigError>(resume.text("optimizer") == optimizer.name(), "{}: the state of {}, the configuration says {}",
                       resume_path, resume.text("optimizer"), optimizer.name());
  load_weights(last, model);
  std::vector<NamedTensor> own = resume.tensors;
  const std::vector<nn::NamedShard> shards = shards_of_state(own, model.named_shards());
  for (NamedTensor& t : own) t.tensor = held_rows(t, shards);
  optimizer.load_state(own);
  if (ranks.rank() == 0) remove_leftovers(folder, named->second);
  return state;
}

}  // namespace striate
