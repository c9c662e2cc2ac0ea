#include "tools/run_reports.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <filesystem>
#include <utility>

#include "engine/train/atomic_file.h"
#include "engine/train/checkpoint.h"
#include "engine/train/event_file.h"
#include "engine/train/run_log.h"
#include "kernels/error.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/training_figure.h"
#include "tools/machine.h"
#include "tools/writable.h"

namespace striate {
namespace {

/// On standard output; lost where its reader has gone, for a run does not end by that.
void say(const std::string& text) { std::fputs(text.c_str(), stdout); }

}  // namespace

struct RunReports::Observers {
  RunLog log;
  EventFile events;
  Progress progress;
  TrainingFigure figure;
};

RunReports::RunReports(Experiment& experiment, const RunConfig& config, const RunFolder& folder)
    : experiment_(experiment), config_(config), folder_(folder) {
  if (!config.analysis.kernels && !config.analysis.tuning) return;
  const Data& data = experiment.data();
  const NetworkInput input{data.height, data.width, data.channels, data.normalization.subtracted(),
                           data.normalization.std};
  analysis_ =
      std::make_unique<KernelAnalysis>(experiment.network(), input, config.analysis, folder.path(), experiment.title());
}

RunReports::~RunReports() = default;

void RunReports::begin(const std::string& description, Progress::Style style) {
  make_folder(folder_);
  if (!config_.train.submission.empty()) require_writable("train.submission", config_.train.submission);
  if (const auto mean = experiment_.data().normalization.mean_image) {
    save_mean_image(folder_.mean_image().string(), *mean);
  }
  write_file_atomically(folder_.config().string(), experiment_.resolved_config());
  write_file_atomically(folder_.class_names().string(),
                        fmt::format("{}\n", fmt::join(experiment_.class_names(), "\n")));
  const std::string path = folder_.path().string();
  observers_.reset(new Observers{RunLog(path), EventFile(path), Progress(config_.train.print_every, stdout, style),
                                 TrainingFigure(folder_.metrics(), folder_.figure(), experiment_.title())});
  const auto warn = [this](const std::string& message) { this->warn(message); };
  observers_->figure.on_warning(warn);
  if (analysis_) analysis_->on_warning(warn);
  experiment_.on_broken(warn);
  say(fmt::format("{}, into {}\n", description, path));
  observers_->log.note(description);
  observers_->log.note("machine: " + machine_description(config_.device));  // which says the device's notice
  if (const std::string notice = device_notice(config_.device); !notice.empty()) say(notice + "\n");
  if (const std::string notice = config_.model.kernels_notice(); !notice.empty()) tell(notice);
}

void RunReports::add_to(Trainer& trainer) {
  trainer.add_observer(observers_->log);
  trainer.add_observer(observers_->events);
  trainer.add_observer(observers_->progress);
  if (analysis_) trainer.add_observer(*analysis_);
  trainer.add_observer(observers_->figure);  // reads what the log and the analysis have written
}

void RunReports::tell(const std::string& text) {
  say(text + "\n");
  observers_->log.note(text);
}

void RunReports::warn(const std::string& message) {
  observers_->log.warning(message);
  observers_->progress.warning(message);
}

void RunReports::end(const TrainResult& result, int64_t broken, const std::string& program) {
  const std::string path = folder_.path().string();
  if (broken > 0)
    say(fmt::format("{} broken images were left out; {} names them.\n", broken, (folder_.path() / "log.txt").string()));
  const std::string best = best_weights_path(path), last = last_weights_path(path);
  say(fmt::format("Weights  {}\nNumbers  {}\n", std::filesystem::exists(best) ? best : last,
                  folder_.metrics().string()));
  if (std::filesystem::exists(folder_.figure())) say(fmt::format("Figure   {}\n", folder_.figure().string()));
  if (result.status == TrainStatus::interrupted) say(fmt::format("Continue with {} --resume {}\n", program, path));
}

void make_folder(const RunFolder& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder.path(), error);
  require<IoError>(!error, "--output {}: the folder cannot be made: {}", folder.path().string(), error.message());
}

}  // namespace striate
