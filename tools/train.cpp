// Trains a network from a YAML configuration and leaves a run's folder.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "engine/train/atomic_file.h"
#include "engine/train/checkpoint.h"
#include "engine/train/event_file.h"
#include "engine/train/progress.h"
#include "engine/train/run_log.h"
#include "engine/train/trainer.h"
#include "kernels/error.h"
#include "models/weights/weights.h"
#include "tools/command_line.h"
#include "tools/experiment.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/kernel_analysis.h"
#include "tools/experiments/training_figure.h"
#include "tools/machine.h"
#include "tools/rate_search.h"
#include "tools/run_folder.h"
#include "tools/step_profile.h"
#include "tools/submission.h"
#include "tools/writable.h"

namespace striate {
namespace {

struct Flags {
  CommonFlags common;
  std::string output, resume, init;
  bool find_rate = false;
  int64_t profile = 0;
};

/// A fresh run's configuration and folder, or those of the run that is taken up again.
std::pair<RunConfig, RunFolder> plan(const Flags& flags) {
  const std::vector<std::string> overrides = flags.common.overrides();
  if (!flags.resume.empty()) {
    require<ConfigError>(
        flags.common.config.empty() && flags.output.empty() && flags.init.empty() && !flags.find_rate &&
            flags.profile == 0,
        "--resume DIR takes configuration, weights and folder from the run; --config, --output, --init, --find-lr and "
        "--profile cannot be given with it");
    const RunFolder folder = RunFolder::existing(flags.resume);
    return {RunConfig::load(folder.config().string(), overrides), folder};
  }
  require<ConfigError>(!flags.common.config.empty() || !flags.common.set.empty(),
                       "--config F is missing, as in --config tools/configs/quickstart.yaml");
  RunConfig config = RunConfig::load(flags.common.config, overrides);
  if (flags.find_rate || flags.profile > 0) {
    const std::string name =
        fmt::format("{}-{}-{}", config.model_name(), config.data.dataset, flags.find_rate ? "find-lr" : "profile");
    return {std::move(config), flags.output.empty() ? RunFolder::next(name) : RunFolder(flags.output)};
  }
  RunFolder folder = flags.output.empty()
                         ? RunFolder::next(fmt::format("{}-{}", config.model_name(), config.data.dataset))
                         : RunFolder::fresh(flags.output);
  return {std::move(config), std::move(folder)};
}

void make_folder(const RunFolder& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder.path(), error);
  require<IoError>(!error, "--output {}: the folder cannot be made: {}", folder.path().string(), error.message());
}

/// On standard output; lost where its reader has gone, for a run does not end by that.
void say(const std::string& text) { std::fputs(text.c_str(), stdout); }

/// Null where nothing is asked for.
std::unique_ptr<KernelAnalysis> make_analysis(const AnalysisOptions& options, Experiment& experiment,
                                              const RunFolder& folder) {
  if (!options.kernels && !options.tuning) return nullptr;
  const Data& data = experiment.data();
  const NetworkInput input{data.height, data.width, data.channels, data.normalization.subtracted(),
                           data.normalization.std};
  return std::make_unique<KernelAnalysis>(experiment.model(), input, options, folder.path(), experiment.title());
}

/// The progress has told how the run went; this is where it lies.
void print_end(const TrainResult& result, const RunFolder& folder, int64_t broken, const std::string& program) {
  if (broken > 0)
    say(fmt::format("{} broken images were left out; {} names them.\n", broken, (folder.path() / "log.txt").string()));
  const std::string best = best_weights_path(folder.path().string());
  const std::string last = last_weights_path(folder.path().string());
  say(fmt::format("Weights  {}\nNumbers  {}\n", std::filesystem::exists(best) ? best : last,
                  folder.metrics().string()));
  if (std::filesystem::exists(folder.figure())) say(fmt::format("Figure   {}\n", folder.figure().string()));
  if (result.status == TrainStatus::interrupted) {
    say(fmt::format("Continue with {} --resume {}\n", program, folder.path().string()));
  }
}

int train(int argc, char** argv) {
  CommandLine command_line(
      "Trains a network from a YAML configuration. Ctrl-C finishes the step, saves and stops.",
      {"--config tools/configs/quickstart.yaml --output runs/first",
       "--config tools/configs/e4_alexnet_cifar10.yaml --set data.path=/data/cifar-10-batches-bin",
       "--config tools/configs/synthetic.yaml --set model.name=alexnet_mini --set train.epochs=5",
       "--config tools/configs/quickstart.yaml --find-lr", "--config tools/configs/quickstart.yaml --profile 20",
       "--resume runs/first", "--resume runs/alexnet_mini-synthetic --set train.epochs=20"});
  Flags flags;
  flags.common.add_to(command_line);
  command_line.option("--output", flags.output, "DIR", "Folder of the new run (default runs/MODEL-DATASET)")
      .option("--resume", flags.resume, "DIR", "Take a stopped run up again where it was saved last")
      .option("--init", flags.init, "WEIGHTS", "Start from these weights instead of random ones")
      .flag("--find-lr", flags.find_rate,
            "Train no run, but 100 steps with a rate that rises from 1e-7 to 10, and suggest a learning rate")
      .option("--profile", flags.profile, "N",
              "Train no run, but N steps, print where their time goes, kernel by kernel, and write their timeline, "
              "trace.json, for ui.perfetto.dev");
  if (!command_line.parse(argc, argv)) return kDone;

  require<ConfigError>(!command_line.given("--profile") || flags.profile > 0,
                       "--profile {}: at least one step is needed", flags.profile);
  require<ConfigError>(flags.profile == 0 || !flags.find_rate, "--profile trains no run: nor does --find-lr");

  const auto [config, folder] = plan(flags);
  Experiment experiment(config);
  if (!flags.init.empty()) models::load_weights(flags.init, experiment.model(), experiment.input());
  TrainOptions options = config.train;
  options.seed = config.seed;
  options.output = folder.path().string();
  options.model_name = config.model_name();
  options.fixed = experiment.fixed_by_resume();
  if (flags.profile > 0) {
    make_folder(folder);
    return profile_steps(experiment, options, flags.profile, folder.path() / "trace.json");
  }
  if (flags.find_rate) {
    make_folder(folder);
    return search_rate(experiment, options, folder.path());
  }
  Trainer trainer(experiment.model(), experiment.train_data(), options);
  if (!flags.resume.empty()) trainer.resume();

  const std::unique_ptr<KernelAnalysis> analysis = make_analysis(config.analysis, experiment, folder);

  // What the end of training needs is looked for now.
  if (!config.train.submission.empty()) experiment.part("test");
  make_folder(folder);
  if (!config.train.submission.empty()) require_writable("train.submission", config.train.submission);
  if (const auto mean = experiment.data().normalization.mean_image)
    save_mean_image(folder.mean_image().string(), *mean);
  write_file_atomically(folder.config().string(), experiment.resolved_config());
  write_file_atomically(folder.class_names().string(), fmt::format("{}\n", fmt::join(experiment.class_names(), "\n")));
  RunLog log(options.output);
  EventFile events(options.output);
  Progress progress(options.print_every);
  TrainingFigure figure(folder.metrics(), folder.figure(), experiment.title());
  for (TrainObserver* observer : std::initializer_list<TrainObserver*>{&log, &events, &progress}) {
    trainer.add_observer(*observer);
  }
  if (analysis) trainer.add_observer(*analysis);
  trainer.add_observer(figure);  // reads what the log and the analysis have written
  const auto warn = [&](const std::string& message) {
    log.warning(message);
    progress.warning(message);
  };
  figure.on_warning(warn);
  if (analysis) analysis->on_warning(warn);
  experiment.on_broken(warn);
  say(fmt::format("{}, into {}\n", experiment.description(), options.output));
  log.note(experiment.description());
  log.note("machine: " + machine_description(config.device));  // which says the device's notice
  if (const std::string notice = device_notice(config.device); !notice.empty()) say(notice + "\n");
  if (const std::string notice = config.model.kernels_notice(); !notice.empty()) {
    say(notice + "\n");
    log.note(notice);
  }

  const TrainResult result = trainer.run();
  if (result.status != TrainStatus::interrupted && !config.train.submission.empty()) {
    const std::string best = best_weights_path(options.output);
    if (std::filesystem::exists(best)) load_weights(best, experiment.model());
    write_submission(experiment, config.device, config.train.submission);
    say(fmt::format("Test     {}\n", config.train.submission));
  }
  print_end(result, folder, experiment.broken(), command_line.program());
  return result.status == TrainStatus::interrupted ? kInterrupted : kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("train", [&] { return striate::train(argc, argv); });
}
