#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "engine/config.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/experiments/metrics_table.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

size_t count_lines(const fs::path& file) { return fs::exists(file) ? read_lines(file).size() : 0; }

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Train, LeavesAWholeFolder) {
  TempDir folder;
  const fs::path run = folder / "run";
  std::vector<std::string> flags = tiny_flags();
  flags.insert(flags.end(), {"--output", run.string()});
  const Outcome outcome = run_tool("train", flags);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(has(outcome.out, "alexnet_mini on synthetic")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, (run / "training_metrics.png").string())) << outcome.out;
  EXPECT_EQ(outcome.out.find('\r'), std::string::npos) << "no bar where there is no terminal";

  const auto metrics = read_lines(run / "metrics.csv");
  ASSERT_EQ(metrics.size(), 5u);
  EXPECT_EQ(metrics[0],
            "epoch,learning_rate,train_loss,train_top1,val_loss,val_top1,val_macro_f1,test_loss,test_top1,"
            "images_per_second,seconds");
  const MetricsTable table = MetricsTable::read(run / "metrics.csv");
  EXPECT_FALSE(table.column("train_loss")[0].has_value()) << "nothing is trained before epoch 1";
  EXPECT_TRUE(table.column("val_loss")[0].has_value());
  for (size_t row = 1; row <= 3; ++row) {
    for (const char* column : {"learning_rate", "train_loss", "train_top1", "val_loss", "val_top1", "val_macro_f1",
                               "images_per_second", "seconds"}) {
      EXPECT_TRUE(table.column(column)[row].has_value()) << column << " in row " << row;
    }
    EXPECT_EQ(table.column("test_top1")[row].has_value(), row == 3) << "the test part is measured once, at the end";
  }

  const auto steps = read_lines(run / "steps.csv");
  ASSERT_EQ(steps.size(), 31u);
  EXPECT_EQ(steps[0], "step,epoch,loss,learning_rate");
  EXPECT_TRUE(steps[30].rfind("30,3,", 0) == 0) << steps[30];

  const Picture figure = Picture::read(run / "training_metrics.png");
  EXPECT_GT(figure.count(0x0072B2), 100);
  EXPECT_GT(figure.count(0xD55E00), 100);

  int events = 0, resume = 0;
  for (const std::string& name : names_in(run)) {
    EXPECT_FALSE(has(name, ".partial")) << name;
    events += name.rfind("events.out.tfevents.", 0) == 0;
    resume += name.rfind("resume-", 0) == 0;
  }
  EXPECT_EQ(events, 1);
  EXPECT_EQ(resume, 1);
  EXPECT_TRUE(fs::exists(run / "last.safetensors"));
  EXPECT_TRUE(fs::exists(run / "best.safetensors"));
  const std::string log = read_text(run / "log.txt");
  EXPECT_TRUE(has(log, "alexnet_mini on synthetic")) << log;
  EXPECT_FALSE(has(log, "warning")) << log;
  const std::string config = read_text(run / "config.yaml");
  for (const char* expected : {"num_classes: 10", "in_channels: 3", "image_size: [32, 32]", "seed: 5"}) {
    EXPECT_TRUE(has(config, expected)) << expected << " is missing from\n" << config;
  }
}

TEST(Train, WritesEveryKeyAndTrainsTheSameFromIt) {
  TempDir folder;
  const fs::path run = folder / "run", again = folder / "again";
  train_tiny(run, {"--set", "train.epochs=1"});
  const std::string text = read_text(run / "config.yaml");
  const std::map<std::string, std::vector<std::string>> expected = {
      {"", {"seed", "device", "threads", "model", "data", "train", "analysis", "distributed"}},
      {"model",
       {"name", "num_classes", "in_channels", "dropout", "dropout_place", "activation", "init", "conv", "linear"}},
      {"data",
       {"dataset", "path", "class_names", "image_size", "channels", "validation_fraction", "shuffle", "workers",
        "skip_broken", "train_transforms", "test_transforms", "mixup", "cutmix", "normalize"}},
      {"train",
       {"epochs", "max_steps", "batch_size", "accumulate", "precision", "autotune", "recompute", "learning_rate",
        "optimizer", "schedule", "label_smoothing", "clip_grad_norm", "best_by", "early_stop_patience", "print_every",
        "save_every", "save_every_steps", "submission"}},
      {"train.optimizer", {"name", "momentum", "weight_decay", "nesterov", "betas", "eps", "alpha"}},
      {"train.schedule",
       {"name", "size", "gamma", "warmup_epochs", "warmup_rate", "minimum_rate", "factor", "patience"}},
      {"analysis", {"kernels", "tuning"}},
      {"distributed", {"scheme", "bucket_mb", "reduce", "batch_norm", "rounds", "rate_scaling"}}};
  for (const auto& [path, keys] : expected) {
    ConfigReader reader = ConfigReader::load((run / "config.yaml").string());
    std::istringstream parts(path);
    for (std::string part; std::getline(parts, part, '.');) reader = reader.section(part);
    for (const std::string& key : keys) EXPECT_TRUE(reader.has(key)) << path << "." << key << " is missing\n" << text;
  }
  for (const char* line : {"dropout_place: before_linear", "init: pytorch", "momentum: 0.9", "scheme: none",
                           "betas: [0.9, 0.999]", "test_transforms: []", "shuffle: true"}) {
    EXPECT_TRUE(has(text, line)) << line << " is missing from\n" << text;
  }

  const Outcome outcome = run_tool("train", {"--config", (run / "config.yaml").string(), "--output", again.string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read_text(again / "config.yaml"), text);
  EXPECT_EQ(read_text(again / "steps.csv"), read_text(run / "steps.csv"));
  EXPECT_TRUE(read_text(again / "last.safetensors") == read_text(run / "last.safetensors"));

  // A network without dropout leaves the key empty.
  const Outcome lenet = run_tool("train", {"--config", std::string(STRIATE_CONFIGS_DIR) + "/synthetic.yaml", "--set",
                                           "train.max_steps=1", "--output", (folder / "lenet").string()});
  ASSERT_EQ(lenet.code, 0) << lenet.err;
  EXPECT_TRUE(has(read_text(folder / "lenet" / "config.yaml"), "dropout_place: ~"));
  const Outcome resumed = run_tool("train", {"--resume", (folder / "lenet").string(), "--set", "train.max_steps=2"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

TEST(Train, SameSeedSameBitsForAnyNumberOfWorkers) {
  TempDir folder;
  train_tiny(folder / "one", {"--set", "data.workers=1"});
  train_tiny(folder / "again", {"--set", "data.workers=1"});
  train_tiny(folder / "four", {"--set", "data.workers=4"});
  train_tiny(folder / "none", {"--set", "data.workers=0"});
  const std::string steps = read_text(folder / "one" / "steps.csv");
  const std::string weights = read_text(folder / "one" / "last.safetensors");
  for (const char* other : {"again", "four", "none"}) {
    EXPECT_EQ(read_text(folder / other / "steps.csv"), steps) << other;
    EXPECT_TRUE(read_text(folder / other / "last.safetensors") == weights) << other;
    EXPECT_EQ(metrics_without_times(folder / other), metrics_without_times(folder / "one")) << other;
  }
  train_tiny(folder / "other_seed", {"--set", "seed=6"});
  EXPECT_NE(read_text(folder / "other_seed" / "steps.csv"), steps);
}

/// Starts or resumes a run and stops it by a signal once steps.csv has so many rows.
Outcome stop_after(const fs::path& run, std::vector<std::string> flags, int signal, size_t rows) {
  Tool tool("train", flags);
  EXPECT_TRUE(tool.wait_until([&] { return count_lines(run / "steps.csv") > rows; }))
      << "it ended before step " << rows;
  tool.signal(signal);
  return tool.wait();
}

void expect_same_run(const fs::path& found, const fs::path& expected) {
  EXPECT_EQ(read_text(found / "steps.csv"), read_text(expected / "steps.csv"));
  EXPECT_EQ(metrics_without_times(found), metrics_without_times(expected));
  EXPECT_TRUE(read_text(found / "last.safetensors") == read_text(expected / "last.safetensors"));
  EXPECT_TRUE(read_text(found / "best.safetensors") == read_text(expected / "best.safetensors"));
}

TEST(Train, InterruptedAndResumedIsAsIfNeverStopped) {
  TempDir folder;
  const fs::path run = folder / "stopped";
  train_tiny(folder / "whole");
  std::vector<std::string> flags = tiny_flags();
  flags.insert(flags.end(), {"--output", run.string()});
  const Outcome first = stop_after(run, flags, SIGINT, 4);
  EXPECT_EQ(first.code, 130) << first.out << first.err;
  EXPECT_TRUE(has(first.out, "--resume " + run.string())) << first.out;
  EXPECT_TRUE(has(first.out, "Weights  " + run.string())) << first.out;
  const std::string log = read_text(run / "log.txt");
  EXPECT_TRUE(has(log, "interrupted and saved after step ")) << log;
  EXPECT_TRUE(
      has(log, "last weights " + (run / "last.safetensors").string() + ", resumed with " + (run / "resume-").string()))
      << log;
  EXPECT_LT(count_lines(run / "steps.csv"), 31u);
  const Outcome second = stop_after(run, {"--resume", run.string()}, SIGTERM, 17);
  EXPECT_EQ(second.code, 130) << second.out << second.err;
  const Outcome third = run_tool("train", {"--resume", run.string()});
  EXPECT_EQ(third.code, 0) << third.out << third.err;
  expect_same_run(run, folder / "whole");
}

// As by Ctrl-C under `| tee`, which ends before the run does.
TEST(Train, InterruptedWithNobodyReadingItSaves) {
  TempDir folder;
  const fs::path run = folder / "run";
  std::vector<std::string> flags = tiny_flags({"--set", "train.print_every=1"});
  flags.insert(flags.end(), {"--output", run.string()});
  Tool tool("train", flags, Output::closed_pipe);
  EXPECT_TRUE(tool.wait_until([&] { return count_lines(run / "steps.csv") > 4; }));
  tool.signal(SIGINT);
  const Outcome outcome = tool.wait();
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  const Outcome rest = run_tool("train", {"--resume", run.string()});
  EXPECT_EQ(rest.code, 0) << rest.err;
  EXPECT_FALSE(has(rest.out, "Resumed after step 0")) << rest.out;
  EXPECT_EQ(count_lines(run / "steps.csv"), 31u);
}

TEST(Train, KilledAndResumedIsAsIfNeverStopped) {
  TempDir folder;
  const fs::path run = folder / "killed";
  train_tiny(folder / "whole");
  std::vector<std::string> flags = tiny_flags({"--set", "train.save_every_steps=4"});
  flags.insert(flags.end(), {"--output", run.string()});
  EXPECT_EQ(stop_after(run, flags, SIGKILL, 6).code, 128 + SIGKILL);
  EXPECT_EQ(stop_after(run, {"--resume", run.string()}, SIGKILL, 15).code, 128 + SIGKILL);
  const Outcome last = run_tool("train", {"--resume", run.string()});
  EXPECT_EQ(last.code, 0) << last.out << last.err;
  EXPECT_TRUE(has(last.out, "esumed after step")) << last.out;
  expect_same_run(run, folder / "whole");
}

TEST(Train, AFinishedRunGoesOnWithMoreEpochs) {
  TempDir folder;
  const fs::path run = folder / "run";
  train_tiny(run, {"--set", "train.epochs=1"});
  const Outcome more = run_tool("train", {"--resume", run.string(), "--set", "train.epochs=2"});
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_EQ(read_lines(run / "steps.csv").size(), 21u);
  EXPECT_TRUE(has(read_text(run / "config.yaml"), "epochs: 2"));

  const std::string before = read_text(run / "steps.csv"), config = read_text(run / "config.yaml");
  const Outcome other = run_tool("train", {"--resume", run.string(), "--set", "train.batch_size=8"});
  EXPECT_EQ(other.code, 2) << other.out;
  EXPECT_TRUE(has(other.err, "train.batch_size")) << other.err;
  const Outcome network = run_tool("train", {"--resume", run.string(), "--set", "model.width=0.25", "--set",
                                             "data.normalize=none", "--set", "data.workers=0"});
  EXPECT_EQ(network.code, 2) << network.out;
  EXPECT_TRUE(has(network.err, "model.width: 0.5 in the run, 0.25 now")) << network.err;
  EXPECT_TRUE(has(network.err, "data.normalize")) << network.err;
  EXPECT_FALSE(has(network.err, "data.workers")) << network.err;
  EXPECT_EQ(read_text(run / "steps.csv"), before);
  EXPECT_EQ(read_text(run / "config.yaml"), config) << "a refused resume changes nothing";
}

TEST(Train, KeepsWhereTheDataLiesForOtherFolders) {
  TempDir folder;
  train_tiny(folder / "run", {"--set", "train.max_steps=1", "--set", "data.path=some/../data"});
  const std::string expected = (fs::current_path() / "data").string();
  EXPECT_TRUE(has(read_text(folder / "run" / "config.yaml"), expected)) << read_text(folder / "run" / "config.yaml");
}

TEST(Train, InitStartsFromAnothersWeights) {
  TempDir folder;
  train_tiny(folder / "first");
  train_tiny(folder / "second",
             {"--init", (folder / "first" / "last.safetensors").string(), "--set", "train.epochs=1"});
  const auto first = MetricsTable::read(folder / "first" / "metrics.csv").column("val_loss");
  const auto second = MetricsTable::read(folder / "second" / "metrics.csv").column("val_loss");
  EXPECT_EQ(second.front(), first.back());
}

TEST(Train, NeverOverwritesARun) {
  TempDir folder;
  const fs::path run = folder / "run";
  train_tiny(run, {"--set", "train.max_steps=2"});
  const std::string before = read_text(run / "metrics.csv");
  std::vector<std::string> flags = tiny_flags();
  flags.insert(flags.end(), {"--output", run.string()});
  const Outcome again = run_tool("train", flags);
  EXPECT_EQ(again.code, 2);
  EXPECT_TRUE(has(again.err, "--resume " + run.string())) << again.err;
  EXPECT_EQ(read_text(run / "metrics.csv"), before);
}

TEST(Train, ALossThatIsNotFiniteStopsTheRun) {
  TempDir folder;
  std::vector<std::string> flags =
      tiny_flags({"--set", "train.optimizer={name: sgd}", "--set", "train.learning_rate=1e9"});
  flags.insert(flags.end(), {"--output", (folder / "run").string()});
  const Outcome outcome = run_tool("train", flags);
  EXPECT_EQ(outcome.code, 1) << outcome.out;
  EXPECT_TRUE(has(outcome.err, "learning rate 1e+09")) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "step")) << outcome.err;
  EXPECT_TRUE(fs::exists(folder / "run" / "last.safetensors")) << "the last good checkpoint stays";
}

TEST(Train, WithoutGnuplotItTrainsAndSaysWhatIsMissing) {
  TempDir folder;
  const std::string path = std::getenv("PATH");
  setenv("PATH", folder.path().c_str(), 1);
  std::vector<std::string> flags = tiny_flags({"--set", "train.max_steps=2"});
  flags.insert(flags.end(), {"--output", (folder / "run").string()});
  const Outcome outcome = run_tool("train", flags);
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "gnuplot-nox")) << outcome.out;
  EXPECT_TRUE(has(read_text(folder / "run" / "log.txt"), "gnuplot-nox"));
  EXPECT_FALSE(fs::exists(folder / "run" / "training_metrics.png"));
}

}  // namespace
}  // namespace striate::test
