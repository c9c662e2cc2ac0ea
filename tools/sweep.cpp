// Trains a run for every combination of values of some keys; one figure and one table over all of them.

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "data/datasets/file_bytes.h"
#include "engine/config.h"
#include "engine/train/atomic_file.h"
#include "engine/train/checkpoint.h"
#include "kernels/error.h"
#include "tools/child_process.h"
#include "tools/command_line.h"
#include "tools/experiments/compare_figure.h"
#include "tools/experiments/figure.h"
#include "tools/run_config.h"
#include "tools/run_folder.h"
#include "tools/sweep_plan.h"
#include "tools/sweep_table.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

struct Flags {
  CommonFlags common;
  std::vector<std::string> vary;
  std::string output;
};

/// On standard output; lost where its reader has gone, for a sweep does not end by that.
void say(const std::string& text) { std::fputs(text.c_str(), stdout); }

/// The tool that trains, which is built and installed beside this one.
fs::path train_program() {
  std::error_code error;
  const fs::path own = fs::read_symlink("/proc/self/exe", error);
  require<Error>(!error, "sweep: its own program's place cannot be read: {}", error.message());
  const fs::path train = own.parent_path() / "train";
  require<Error>(fs::exists(train, error), "sweep: {} is missing; build it, or install both", train.string());
  return train;
}

/// Keeps what all runs share, or checks that a sweep that is taken up again still shares it.
void settle_base(const fs::path& folder, const Flags& flags) {
  const std::string base = ConfigReader::load(flags.common.config, flags.common.set).text() + "\n";
  const fs::path file = folder / "sweep.yaml";
  if (!fs::exists(file)) {
    write_file_atomically(file.string(), base);
    return;
  }
  const auto bytes = read_file(file);
  std::istringstream before(std::string(bytes.begin(), bytes.end())), now(base);
  std::string a, b;
  while (true) {
    const bool has_a = static_cast<bool>(std::getline(before, a)), has_b = static_cast<bool>(std::getline(now, b));
    if (!has_a && !has_b) return;
    require<ConfigError>(has_a && has_b && a == b,
                         "--output {}: a sweep of another configuration lies there: its {} has '{}' where this one has "
                         "'{}'; name another folder",
                         folder.string(), file.filename().string(), has_a ? a : "", has_b ? b : "");
  }
}

/// What `train` is called with: to go on where the run has a checkpoint, else from the start.
std::vector<std::string> train_flags(const Flags& flags, const RunConfig& config, const SweepRun& run,
                                     const fs::path& folder) {
  std::vector<std::string> all;
  if (fs::exists(last_weights_path(folder.string())) && fs::exists(RunFolder(folder).config())) {
    all = {"--resume", folder.string()};
  } else {
    // Left by a run that was killed before its first checkpoint; train would take them for a run.
    std::error_code ignored;
    for (const char* file : {"config.yaml", "metrics.csv", "best.safetensors"}) fs::remove(folder / file, ignored);
    if (!flags.common.config.empty()) all = {"--config", flags.common.config};
    for (const std::string& set : flags.common.set) all.insert(all.end(), {"--set", set});
    for (const std::string& set : run.overrides()) all.insert(all.end(), {"--set", set});
    if (!config.train.submission.empty()) {  // one for each run, not one that each overwrites
      const fs::path name = fs::path(config.train.submission).filename();
      all.insert(all.end(), {"--set", fmt::format("train.submission='{}'", (folder / name).string())});
    }
    all.insert(all.end(), {"--output", folder.string()});
  }
  if (!flags.common.device.empty()) all.insert(all.end(), {"--device", flags.common.device});
  if (!flags.common.threads.empty()) all.insert(all.end(), {"--threads", flags.common.threads});
  return all;
}

void draw(SweepTable& table, const std::string& title, const std::string& best_by, const fs::path& png) {
  std::vector<NamedMetrics> runs;
  for (const SweepRow& row : table.rows()) {
    const fs::path metrics = table.run_folder(row) / "metrics.csv";
    if (sweep_figures(metrics, best_by)) runs.emplace_back(row.run.title, MetricsTable::read(metrics));
  }
  if (runs.empty() || !gnuplot_available()) return;
  try {
    draw_run_comparison(runs, title, png);
  } catch (const Error& error) {
    std::fputs(fmt::format("sweep: no figure: {}\n", error.what()).c_str(), stderr);
  }
}

void print_table(SweepTable& table, const std::string& best_by) {
  size_t width = 3;
  for (const SweepRow& row : table.rows()) width = std::max(width, row.run.title.size());
  const auto number = [](const std::optional<double>& value, const char* format, double scale = 1.0) {
    return value ? fmt::format(fmt::runtime(format), scale * *value) : std::string("-");
  };
  say(fmt::format("\n{:<{}}  {:>5}  {:>8}  {:>7}  {:>7}  {:>9}  {:>8}\n", "run", width, "epoch", "val loss", "val %",
                  "test %", "images/s", "seconds"));
  for (const SweepRow& row : table.rows()) {
    const SweepFigures f = sweep_figures(table.run_folder(row) / "metrics.csv", best_by).value_or(SweepFigures{});
    const char* note = row.status == SweepStatus::failed        ? "  failed"
                       : row.status == SweepStatus::interrupted ? "  unfinished"
                       : row.status == SweepStatus::waiting     ? "  not begun"
                                                                : "";
    say(fmt::format("{:<{}}  {:>5}  {:>8}  {:>7}  {:>7}  {:>9}  {:>8}{}\n", row.run.title, width,
                    number(f.best_epoch, "{:.0f}"), number(f.val_loss, "{:.4f}"), number(f.val_top1, "{:.2f}", 100.0),
                    number(f.test_top1, "{:.2f}", 100.0), number(f.images_per_second, "{:.0f}"),
                    number(f.seconds, "{:.1f}"), note));
  }
}

int sweep(int argc, char** argv) {
  CommandLine command_line(
      "Trains a run for every combination of values, one after the other, and compares them in a table and a figure. "
      "Ctrl-C saves; the same command goes on.",
      {"--config tools/configs/quickstart.yaml --vary train.learning_rate=0.1,0.03,0.01 --output runs/rates",
       "--config tools/configs/synthetic.yaml --vary train.optimizer.name=sgd,adam --vary train.batch_size=16,50 "
       "--output runs/both",
       "--config tools/configs/quickstart.yaml --vary 'data.train_transforms=[[{pad: 2}], [{pad: 2}, "
       "horizontal_flip]]' --output runs/augmentation"});
  Flags flags;
  flags.common.add_to(command_line);
  command_line
      .repeatable("--vary", flags.vary, "KEY=V,…",
                  "A key and its values; may be repeated, and then every combination is trained. A list of lists is a "
                  "list of values: KEY=[[a], [b, c]]")
      .option("--output", flags.output, "DIR", "The sweep's folder: a folder for each run, sweep.csv, sweep.png");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(!flags.common.config.empty() || !flags.common.set.empty(),
                       "--config F is missing, as in --config tools/configs/quickstart.yaml");
  require<ConfigError>(!flags.output.empty(), "--output DIR is missing: the folder of the sweep");

  std::vector<VariedKey> keys;
  for (const std::string& text : flags.vary) keys.push_back(VariedKey::parse(text));
  const std::vector<SweepRun> runs = plan_sweep(keys);
  std::vector<RunConfig> configs;  // all are read before any is trained: a typing error shows now
  for (const SweepRun& run : runs) {
    std::vector<std::string> overrides = flags.common.overrides(), more = run.overrides();
    overrides.insert(overrides.end(), more.begin(), more.end());
    configs.push_back(RunConfig::load(flags.common.config, overrides));
  }
  const fs::path program = train_program(), folder = flags.output;
  std::error_code error;
  fs::create_directories(folder, error);
  require<IoError>(!error, "--output {}: the folder cannot be made: {}", folder.string(), error.message());
  settle_base(folder, flags);
  const std::string best_by = configs.front().train.best_by;
  SweepTable table(folder, runs, best_by);
  table.write();
  if (!gnuplot_available()) say(fmt::format("{}\n", kGnuplotMissing));

  std::string varied;
  for (const VariedKey& key : keys) varied += (varied.empty() ? "" : ", ") + key.key;
  const std::string title =
      fmt::format("{} on {}: {}", configs.front().model_name(), configs.front().data.dataset, varied);
  const fs::path png = folder / "sweep.png";
  const HeldSignals held;
  bool interrupted = false;
  for (size_t i = 0; i < runs.size() && !interrupted; ++i) {
    SweepRow& row = table.rows()[i];
    const std::string place = fmt::format("[{}/{}] {}", i + 1, runs.size(), row.run.title);
    if (row.status == SweepStatus::finished) {
      say(fmt::format("{}: finished before\n", place));
      continue;
    }
    say(fmt::format("{}\n", place));
    const ChildEnd end = run_child(program, train_flags(flags, configs[i], row.run, table.run_folder(row)));
    interrupted = end.interrupted || end.code == kInterrupted || HeldSignals::pending();
    row.status = end.code == kDone          ? SweepStatus::finished
                 : end.code == kInterrupted ? SweepStatus::interrupted
                                            : SweepStatus::failed;
    if (row.status == SweepStatus::failed) {
      std::fflush(stdout);
      std::fputs(fmt::format("sweep: {} failed with exit code {}{}\n", place, end.code,
                             i + 1 < runs.size() && !interrupted ? "; the others go on" : "")
                     .c_str(),
                 stderr);
    }
    table.write();
    draw(table, title, best_by, png);
  }

  print_table(table, best_by);
  say(fmt::format("\nNumbers  {}\n", table.csv().string()));
  if (fs::exists(png)) say(fmt::format("Figure   {}\n", png.string()));
  if (interrupted) {
    say("Interrupted and saved; the same command goes on.\n");
    return kInterrupted;
  }
  const bool failed = std::any_of(table.rows().begin(), table.rows().end(),
                                  [](const SweepRow& row) { return row.status == SweepStatus::failed; });
  return failed ? kFailed : kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("sweep", [&] { return striate::sweep(argc, argv); });
}
