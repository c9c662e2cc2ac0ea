// Trains a network from a YAML configuration and leaves a run's folder; as one process, or as the ranks that mpirun
// starts.

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "engine/train/checkpoint.h"
#include "engine/train/trainer.h"
#include "engine/train/weights.h"
#include "kernels/error.h"
#include "models/weights/weights.h"
#include "tools/build_facts.h"
#include "tools/command_line.h"
#include "tools/experiment.h"
#include "tools/job.h"
#include "tools/rate_search.h"
#include "tools/run_folder.h"
#include "tools/run_reports.h"
#include "tools/step_profile.h"
#include "tools/submission.h"

namespace striate {
namespace {

struct Flags {
  CommonFlags common;
  std::string output, resume, init;
  bool find_rate = false;
  int64_t profile = 0;

  bool trains_a_run() const { return !find_rate && profile == 0; }
};

/// A fresh run's configuration, or that of the run that is taken up again.
RunConfig configuration(const Flags& flags) {
  const std::vector<std::string> overrides = flags.common.overrides();
  if (!flags.resume.empty()) {
    require<ConfigError>(
        flags.common.config.empty() && flags.output.empty() && flags.init.empty() && flags.trains_a_run(),
        "--resume DIR takes configuration, weights and folder from the run; --config, --output, --init, --find-lr and "
        "--profile cannot be given with it");
    return RunConfig::load(RunFolder::existing(flags.resume).config().string(), overrides);
  }
  require<ConfigError>(!flags.common.config.empty() || !flags.common.set.empty(),
                       "--config F is missing, as in --config tools/configs/quickstart.yaml");
  return RunConfig::load(flags.common.config, overrides);
}

RunFolder choose_folder(const Flags& flags, const RunConfig& config) {
  if (!flags.resume.empty()) return RunFolder(flags.resume);
  if (!flags.output.empty()) return flags.trains_a_run() ? RunFolder::fresh(flags.output) : RunFolder(flags.output);
  return RunFolder::next(fmt::format("{}-{}{}", config.model_name(), config.data.dataset,
                                     flags.find_rate     ? "-find-lr"
                                     : flags.profile > 0 ? "-profile"
                                                         : ""));
}

/// Several processes that do not know of each other would write into one folder.
void check_scheme(const Flags& flags, const RunConfig& config, const Job& job) {
  if (job.size() == 1) return;
  require<ConfigError>(config.train.distributed.scheme != Scheme::none,
                       "started as one of {} ranks, but distributed.scheme is none; --set distributed.scheme=data "
                       "divides every batch among them",
                       job.size());
  require<ConfigError>(!flags.find_rate, "--find-lr searches with one process: start it without mpirun");
}

/// In what all ranks must agree: everything but where the files lie and who reads and computes.
JobFacts facts_of(const Experiment& experiment, const RunConfig& config) {
  const std::set<std::string> own = {"device",           "threads",      "data.path",
                                     "data.class_names", "data.workers", "train.submission"};
  JobFacts facts = build_facts();
  facts.emplace_back("device", to_string(config.device));
  const Data& data = experiment.data();
  for (const auto& [part, loader] :
       {std::pair{"training", data.train.get()}, {"validation", data.val.get()}, {"test", data.test.get()}}) {
    facts.emplace_back(fmt::format("{} images", part), fmt::format("{}", loader == nullptr ? 0 : loader->samples()));
  }
  for (const auto& setting : experiment.resolved().settings()) {
    if (own.count(setting.first) == 0) facts.push_back(setting);
  }
  return facts;
}

std::string description_of(const Experiment& experiment, const RunConfig& config, const Job& job) {
  if (job.size() == 1) return experiment.description();
  return fmt::format("{}, scheme {} on {}", experiment.description(), to_string(config.train.distributed.scheme),
                     job.description());
}

/// At the end rank 0 hears which broken pictures the others have left out. Returns how many all have.
int64_t hear_of_broken(const Experiment& experiment, Job& job, RunReports* reports, const std::string& unheard) {
  const std::vector<std::string> of_ranks = job.ranks().gathered_texts(unheard);
  for (const std::string& messages : of_ranks) {
    std::istringstream lines(messages);
    for (std::string line; reports != nullptr && std::getline(lines, line);) reports->warn(line);
  }
  std::array<int64_t, 1> broken = {experiment.broken()};
  job.ranks().sum_counts(broken);
  return broken[0];
}

int train(int argc, char** argv, Job& job) {
  CommandLine command_line(
      "Trains a network from a YAML configuration. Ctrl-C finishes the step, saves and stops. Started several times "
      "over "
      "by mpirun, with --set distributed.scheme=data, the processes train one network together; Ctrl-C leaves them a "
      "second to save then, kill -USR1 with mpirun's process number all the time it takes.",
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
  RunConfig config;
  const bool has_work = job.together([&] {
    if (!command_line.parse(argc, argv)) return false;
    require<ConfigError>(!command_line.given("--profile") || flags.profile > 0,
                         "--profile {}: at least one step is needed", flags.profile);
    require<ConfigError>(flags.profile == 0 || !flags.find_rate, "--profile trains no run: nor does --find-lr");
    config = configuration(flags);
    return true;
  });
  if (!has_work) return kDone;
  if (config.train.distributed.scheme != Scheme::none) job.connect();
  // One decides, for all would find the same name free.
  const RunFolder folder(job.of_rank_0(job.together([&] {
    check_scheme(flags, config, job);
    return job.leads() ? choose_folder(flags, config).path().string() : "";
  })));
  config.threads = job.threads(config.threads);

  const auto experiment = job.together([&] {
    auto opened = std::make_unique<Experiment>(config, job.rank(), job.size());
    opened->train_data();
    if (!flags.init.empty()) models::load_weights(flags.init, opened->model(), opened->input());
    return opened;
  });
  job.require_same(facts_of(*experiment, config));
  const Ranks ranks = job.ranks_on(config.device);
  job.together([&] { experiment->divide(ranks); });
  TrainOptions options = config.train;
  options.seed = config.seed;
  options.output = folder.path().string();
  options.model_name = config.model_name();
  options.fixed = experiment->fixed_by_resume();
  if (!flags.trains_a_run()) {
    job.together([&] {
      if (job.leads()) make_folder(folder);
    });
    if (flags.find_rate) return search_rate(*experiment, options, folder.path());
    return profile_steps(*experiment, options, flags.profile, folder.path() / "trace.json", ranks);
  }

  auto trainer = job.together([&] {
    auto made = std::make_unique<Trainer>(experiment->model(), experiment->train_data(), options, ranks);
    if (!flags.resume.empty()) made->resume();
    return made;
  });
  // What the end of training needs is looked for now.
  const auto reports = job.together([&] {
    if (!config.train.submission.empty()) experiment->part("test");
    return job.leads() ? std::make_unique<RunReports>(*experiment, config, folder) : nullptr;
  });
  std::string unheard;  // of broken pictures, by the ranks that do not speak
  experiment->on_broken([&](const std::string& message) { unheard += message + "\n"; });
  job.together([&] {
    if (!reports) return;
    // mpirun gives its ranks a terminal even where its own output is a file.
    const auto style = job.size() == 1 ? Progress::Style::automatic : Progress::Style::lines;
    reports->begin(description_of(*experiment, config, job), style);
    if (!job.threads_notice().empty()) reports->tell(job.threads_notice());
  });
  if (reports) reports->add_to(*trainer);

  const TrainResult result = trainer->run();
  const int64_t broken = hear_of_broken(*experiment, job, reports.get(), unheard);
  if (reports && result.status != TrainStatus::interrupted && !config.train.submission.empty()) {
    trainer.reset();
    experiment->build_again();
    const std::string best = best_weights_path(options.output);
    load_weights(std::filesystem::exists(best) ? best : last_weights_path(options.output), experiment->model());
    write_submission(*experiment, config.device, config.train.submission);
    std::fputs(fmt::format("Test     {}\n", config.train.submission).c_str(), stdout);
  }
  if (reports) reports->end(result, broken, command_line.program());
  return result.status == TrainStatus::interrupted ? kInterrupted : kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_job("train", [&](striate::Job& job) { return striate::train(argc, argv, job); });
}
