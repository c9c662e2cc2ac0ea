#include "engine/train/run_log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "engine/train/append_file.h"
#include "engine/train/atomic_file.h"
#include "engine/train/checkpoint.h"
#include "kernels/error.h"

namespace striate {

namespace fs = std::filesystem;

namespace {
constexpr const char* kMetricsHeader =
    "epoch,learning_rate,train_loss,train_top1,val_loss,val_top1,val_macro_f1,test_loss,test_top1,images_per_second,"
    "seconds\n";
constexpr const char* kStepsHeader = "step,epoch,loss,learning_rate\n";

// Nine digits tell any two floats apart.
std::string cell(double value, int digits) { return std::isnan(value) ? "" : fmt::format("{:.{}g}", value, digits); }

// Keeps the header and the whole lines whose first number is at most `last`; a missing file becomes its header.
void cut_back(const fs::path& path, const std::string& header, int64_t last) {
  std::string kept = header;
  std::ifstream file(path);
  std::string line;
  for (bool first = true; std::getline(file, line); first = false) {
    if (first || file.eof()) continue;  // a line without its end was being written when the run was killed
    if (std::strtoll(line.c_str(), nullptr, 10) <= last) kept += line + "\n";
  }
  write_file_atomically(path.string(), kept);
}
}  // namespace

struct RunLog::Files {
  fs::path folder;
  std::optional<AppendFile> metrics, steps;
  std::shared_ptr<spdlog::sinks::basic_file_sink_mt> sink;
  std::unique_ptr<spdlog::logger> log;

  // Runs of one folder follow each other in its log.
  void open_log() {
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>((folder / "log.txt").string());
    } catch (const spdlog::spdlog_ex& e) {
      throw IoError(e.what());
    }
    log = std::make_unique<spdlog::logger>("run", sink);
    log->set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v");
    log->flush_on(spdlog::level::trace);
  }
};

RunLog::RunLog(const std::string& folder) : files_(std::make_unique<Files>()) {
  files_->folder = folder;
  std::error_code error;
  fs::create_directories(folder, error);
  require<IoError>(!error, "{}: cannot be made: {}", folder, error.message());
  files_->open_log();
}

RunLog::~RunLog() = default;

void RunLog::run_begins(const RunInfo& info) {
  const fs::path metrics = files_->folder / "metrics.csv", steps = files_->folder / "steps.csv";
  if (info.resumed) {
    cut_back(metrics, kMetricsHeader, info.rows - 1);
    cut_back(steps, kStepsHeader, info.step);
  } else {
    write_file_atomically(metrics.string(), kMetricsHeader);
    write_file_atomically(steps.string(), kStepsHeader);
  }
  files_->metrics.emplace(metrics.string(), AppendFile::Open::keep);
  files_->steps.emplace(steps.string(), AppendFile::Open::keep);
  files_->log->info("{} on {}: {} parameters; images: {} to train, {} to validate, {} to test; {} epochs of {} steps",
                    info.resumed ? fmt::format("resumed after step {}", info.step) : "started", to_string(info.device),
                    info.parameters, info.train_images, info.val_images, info.test_images, info.epochs,
                    info.steps_per_epoch);
}

void RunLog::step_done(const StepRecord& step) {
  files_->steps->append(
      fmt::format("{},{},{},{}\n", step.step, step.epoch, cell(step.loss, 9), cell(step.learning_rate, 8)));
}

void RunLog::epoch_done(const EpochRecord& e) {
  files_->metrics->append(fmt::format("{},{},{},{},{},{},{},{},{},{},{}\n", e.epoch, cell(e.learning_rate, 8),
                                      cell(e.train_loss, 9), cell(e.train_top1, 9), cell(e.val_loss, 9),
                                      cell(e.val_top1, 9), cell(e.val_macro_f1, 9), cell(e.test_loss, 9),
                                      cell(e.test_top1, 9), cell(e.images_per_second, 5), cell(e.seconds, 5)));
  std::string measured;
  const auto add = [&](const char* what, double value, int digits) {
    if (!std::isnan(value)) measured += fmt::format("{} {} {:.{}f}", measured.empty() ? "" : ",", what, value, digits);
  };
  if (!std::isnan(e.learning_rate)) measured = fmt::format(" learning rate {:.6g}", e.learning_rate);
  add("train loss", e.train_loss, 5);
  add("train top-1", e.train_top1, 4);
  add("val loss", e.val_loss, 5);
  add("val top-1", e.val_top1, 4);
  add("val macro-F1", e.val_macro_f1, 4);
  add("images/s", e.images_per_second, 0);
  if (e.best_epoch > 0) measured += fmt::format("{} best epoch {}", measured.empty() ? "" : ",", e.best_epoch);
  files_->log->info("epoch {}:{}", e.epoch, measured.empty() ? " nothing measured" : measured);
  if (!std::isnan(e.test_loss)) {
    files_->log->info("test with the weights of epoch {}: loss {:.5f} top-1 {:.4f}", e.best_epoch, e.test_loss,
                      e.test_top1);
  }
}

void RunLog::checkpoint_begins(int64_t) {
  files_->steps->sync();
  files_->metrics->sync();
}

void RunLog::run_ends(const TrainResult& result) {
  const char* how = result.status == TrainStatus::interrupted     ? "interrupted and saved"
                    : result.status == TrainStatus::early_stopped ? "stopped early"
                                                                  : "finished";
  std::string left;
  const std::string best = best_weights_path(files_->folder.string()),
                    last = last_weights_path(files_->folder.string());
  std::error_code ignored;
  if (fs::exists(best, ignored)) left += "; best weights " + best;
  if (fs::exists(last, ignored)) {
    left += "; last weights " + last;
    const std::string resume = read_safetensors_metadata(last)["resume"];
    if (!resume.empty()) left += ", resumed with " + (files_->folder / resume).string();
  }
  files_->log->info("{} after step {}{}", how, result.steps, left);
}

void RunLog::warning(const std::string& message) { files_->log->warn("{}", message); }

void RunLog::note(const std::string& message) { files_->log->info("{}", message); }

}  // namespace striate
