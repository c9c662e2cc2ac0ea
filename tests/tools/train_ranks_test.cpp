// train under mpirun, as it was built: what several ranks leave in a run's folder, and how they end.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/train/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/ranks.h"
#include "tests/tools/tiny_run.h"
#include "tools/experiments/metrics_table.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
bool begins(const std::string& text, const std::string& part) { return text.rfind(part, 0) == 0; }

std::vector<std::string> operator+(std::vector<std::string> all, const std::vector<std::string>& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// 160 images in batches of 14, of which two make a step: neither 2 nor 3 divide them, and the sixth step of an epoch
/// has one batch more of 6 images. Augmentation and dropout are on.
std::vector<std::string> uneven_flags(const fs::path& run, const std::vector<std::string>& more = {}) {
  return tiny_flags({"--set", "train.batch_size=14", "--set", "train.accumulate=2", "--set", "train.epochs=4", "--set",
                     "train.max_steps=20", "--set", "distributed.bucket_mb=0.05", "--output", run.string()}) +
         more;
}

std::vector<double> losses(const fs::path& run) {
  const auto column = MetricsTable::read(run / "steps.csv").column("loss");
  std::vector<double> values;
  for (const auto& value : column) values.push_back(value.value());
  return values;
}

void expect_same_losses(const fs::path& found, const fs::path& expected) {
  const std::vector<double> a = losses(found), b = losses(expected);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5 * std::abs(b[i])) << "step " << i + 1;
}

/// Adam moves a weight by up to the learning rate, 0.002, a step, however small its gradient is: where that is nearly
/// zero, its rounding is a part of a step.
constexpr double kOfWeights = 1e-4;

/// Losses are sums in another order; counts are the same.
void expect_same_run(const fs::path& found, const fs::path& expected) {
  expect_same_losses(found, expected);
  const auto a = MetricsTable::read(found / "metrics.csv"), b = MetricsTable::read(expected / "metrics.csv");
  for (const char* name : {"epoch", "learning_rate", "train_top1", "val_top1", "val_macro_f1", "test_top1"}) {
    EXPECT_EQ(a.column(name), b.column(name)) << name;
  }
  const Safetensors mine = read_safetensors((found / "last.safetensors").string());
  const Safetensors wanted = read_safetensors((expected / "last.safetensors").string());
  ASSERT_EQ(mine.tensors.size(), wanted.tensors.size());
  for (const NamedTensor& weight : wanted.tensors) {
    const Tensor* const other = mine.find(weight.name);
    ASSERT_TRUE(other != nullptr && other->shape() == weight.tensor.shape()) << weight.name;
    for (int64_t i = 0; i < weight.tensor.size(); ++i) {
      ASSERT_NEAR(other->data<float>()[i], weight.tensor.data<float>()[i], kOfWeights) << weight.name << " at " << i;
    }
  }
}

class TrainRanks : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = no_ranks(); !reason.empty()) GTEST_SKIP() << reason;
  }
  static Outcome run(int ranks, const std::vector<std::string>& flags) {
    return run_tool(mpirun(), as_ranks(ranks, flags));
  }
  static void train(int ranks, const std::vector<std::string>& flags) {
    const Outcome outcome = ranks == 1 ? run_tool("train", flags) : run(ranks, flags);
    ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
    ASSERT_EQ(outcome.err, "");
  }
  const std::vector<std::string> data_ = {"--set", "distributed.scheme=data"};
  TempDir folder_;
};

class TrainRanksBy : public TrainRanks, public testing::WithParamInterface<const char*> {
 protected:
  const std::vector<std::string> scheme_ = {"--set", std::string("distributed.scheme=") + GetParam()};
};

TEST_P(TrainRanksBy, FollowOneProcess) {
  train(1, uneven_flags(folder_ / "one"));
  for (const int ranks : {2, 3}) {
    SCOPED_TRACE(ranks);
    const fs::path run = folder_ / std::to_string(ranks);
    train(ranks, uneven_flags(run, scheme_));
    expect_same_run(run, folder_ / "one");
    for (const auto& entry : fs::directory_iterator(run)) {
      const fs::path name = entry.path().filename();
      EXPECT_TRUE(begins(name.string(), "events.") || fs::exists(folder_ / "one" / name)) << name;
    }
  }
}

TEST_P(TrainRanksBy, GiveTheSameBitsAgain) {
  for (const char* name : {"a", "b"}) train(3, uneven_flags(folder_ / name, scheme_));
  EXPECT_EQ(read_text(folder_ / "a" / "steps.csv"), read_text(folder_ / "b" / "steps.csv"));
  EXPECT_TRUE(read_text(folder_ / "a" / "last.safetensors") == read_text(folder_ / "b" / "last.safetensors"));
}

TEST_P(TrainRanksBy, SavedByFourAreResumedByTwoAndByOne) {
  const fs::path run = folder_ / "run";
  train(1, uneven_flags(folder_ / "one"));
  train(4, uneven_flags(run, scheme_ + std::vector<std::string>{"--set", "train.max_steps=8"}));
  train(2, {"--resume", run.string(), "--set", "train.max_steps=15"});
  train(1, {"--resume", run.string(), "--set", "train.max_steps=20", "--set", "distributed.scheme=none"});
  expect_same_run(run, folder_ / "one");
}

INSTANTIATE_TEST_SUITE_P(Schemes, TrainRanksBy, testing::Values("data", "one_weird_trick"),
                         [](const auto& tested) { return tested.param; });

TEST_F(TrainRanks, OneSpeaksAndWrites) {
  const Outcome outcome =
      run(3, tiny_flags({"--set", "train.max_steps=2", "--output", (folder_ / "run").string()}) + data_);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  size_t lines = 0, found = 0;
  for (size_t at = 0; (at = outcome.out.find("alexnet_mini on synthetic", at)) != std::string::npos; ++at) ++found;
  std::istringstream text(outcome.out);
  for (std::string line; std::getline(text, line);) ++lines;
  EXPECT_EQ(found, 1u) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "scheme data on 3 ranks")) << outcome.out;
  EXPECT_LT(lines, 15u) << outcome.out;
}

TEST_F(TrainRanks, DivideTheCoresOfTheirHost) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  ASSERT_EQ(sched_getaffinity(0, sizeof(cores), &cores), 0);
  const auto flags = [&](const char* run) {
    return tiny_flags({"--set", "train.max_steps=1", "--output", (folder_ / run).string()}) + data_;
  };
  train(2, flags("shared") + std::vector<std::string>{"--threads", "0"});
  const int each = std::max(1, CPU_COUNT(&cores) / 2);
  const std::string log = read_text(folder_ / "shared" / "log.txt");
  EXPECT_TRUE(has(log, " images, " + std::to_string(each) + " thread")) << log;
  train(2, flags("given") + std::vector<std::string>{"--threads", "3"});
  EXPECT_TRUE(has(read_text(folder_ / "given" / "log.txt"), " images, 3 threads"));
}

// The sums of the head's gradients are under way while the features' are computed.
TEST_F(TrainRanks, ExchangeUnderTheBackwardInTheTrace) {
  const fs::path output = folder_ / "profile";
  const Outcome outcome = run(2, tiny_flags({"--profile", "5", "--output", output.string(), "--set", "model.width=1",
                                             "--set", "distributed.bucket_mb=0.1"}) +
                                     data_);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "all_reduce")) << outcome.out;
  EXPECT_EQ(outcome.out.find("ms a step over 5 steps"), outcome.out.rfind("ms a step over 5 steps")) << outcome.out;
  struct Span {
    double begin = 0.0, end = 0.0;
  };
  std::vector<Span> sums, kernels;
  const auto trace = nlohmann::json::parse(read_text(output / "trace.json"));
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    const double begin = event.at("ts"), end = begin + event.at("dur").get<double>();
    if (event.at("name") == "all_reduce") sums.push_back({begin, end});
    if (event.at("cat") == "backward,kernel") kernels.push_back({begin, end});
  }
  const auto is_covered = [&](const Span& sum) {
    return std::any_of(kernels.begin(), kernels.end(),
                       [&](const Span& kernel) { return kernel.begin < sum.end && sum.begin < kernel.end; });
  };
  EXPECT_GE(sums.size(), 10u) << "two buckets a step at least";
  EXPECT_GT(std::count_if(sums.begin(), sums.end(), is_covered), 0);
}

TEST_F(TrainRanks, OfTwoHostsFollowOneProcess) {
  const auto over_hosts = [&](const std::vector<std::string>& flags) {
    return run_tool(std::string(STRIATE_RANKS_DIR) + "/two_hosts.sh",
                    std::vector<std::string>{std::string(STRIATE_TOOLS_DIR) + "/train"} + flags);
  };
  const Outcome outcome = over_hosts(uneven_flags(folder_ / "hosts", data_));
  if (outcome.code == 77) GTEST_SKIP() << outcome.out;
  ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  train(1, uneven_flags(folder_ / "one"));
  expect_same_run(folder_ / "hosts", folder_ / "one");
}

TEST_F(TrainRanks, ScaleTheRateByOption) {
  const auto flags = [&](const char* run, const char* scaling) {
    return tiny_flags({"--set", "train.max_steps=2", "--output", (folder_ / run).string(), "--set",
                       std::string("distributed.rate_scaling=") + scaling}) +
           data_;
  };
  const auto rate = [&](const char* run) {
    return MetricsTable::read(folder_ / run / "steps.csv").column("learning_rate").front().value();
  };
  train(2, flags("linear", "linear"));
  train(2, flags("sqrt", "sqrt"));
  EXPECT_NEAR(rate("linear"), 0.004, 1e-12);
  EXPECT_NEAR(rate("sqrt"), 0.002 * std::sqrt(2.0), 1e-9);
  // A run follows the number of its ranks, and keeps its rule.
  train(3, {"--resume", (folder_ / "linear").string(), "--set", "train.max_steps=3"});
  EXPECT_NEAR(MetricsTable::read(folder_ / "linear" / "steps.csv").column("learning_rate").back().value(), 0.006,
              1e-12);
  const Outcome other = run(2, {"--resume", (folder_ / "linear").string(), "--set", "distributed.rate_scaling=none"});
  EXPECT_EQ(other.code, 2);
  EXPECT_TRUE(begins(other.err, "train: ")) << other.err;
  EXPECT_TRUE(has(other.err, "distributed.rate_scaling: linear in the run")) << other.err;
}

// What all have wrong is said once, and before all that mpirun says.
TEST_F(TrainRanks, AMistakeOfAllIsToldOnce) {
  const Outcome flag = run(3, {"--confg", "x"});
  EXPECT_EQ(flag.code, 2);
  EXPECT_TRUE(begins(flag.err, "train: unknown flag '--confg'")) << flag.err;
  EXPECT_EQ(flag.err.find("--confg"), flag.err.rfind("--confg")) << flag.err;
  const Outcome config = run(2, tiny_flags({"--set", "train.epochs=many"}) + data_);
  EXPECT_EQ(config.code, 2);
  EXPECT_TRUE(begins(config.err, "train: ")) << config.err;
  EXPECT_FALSE(has(config.err, "rank 1")) << config.err;
  EXPECT_EQ(config.err.find("train.epochs"), config.err.rfind("train.epochs")) << config.err;
}

TEST_F(TrainRanks, WithoutASchemeAreRefused) {
  const fs::path output = folder_ / "run";
  const Outcome outcome = run(2, tiny_flags({"--output", output.string()}));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(begins(outcome.err, "train: started as one of 2 ranks, but distributed.scheme is none")) << outcome.err;
  EXPECT_FALSE(fs::exists(output));
  const Outcome search = run(2, tiny_flags({"--find-lr", "--output", output.string()}) + data_);
  EXPECT_EQ(search.code, 2);
  EXPECT_TRUE(begins(search.err, "train: --find-lr")) << search.err;
}

/// Of class folders.
std::vector<std::string> folder_flags(const fs::path& run, const fs::path& data) {
  return {"--set", "data.dataset=image_folder", "--set", "data.path=" + data.string(), "--set",    "model.name=lenet",
          "--set", "train.batch_size=8",        "--set", "train.epochs=1000",          "--set",    "threads=1",
          "--set", "data.image_size=[28, 28]",  "--set", "distributed.scheme=data",    "--output", run.string()};
}

TEST_F(TrainRanks, ThatDifferAreRefused) {
  const auto refused = [&](const std::vector<std::string>& first, const std::vector<std::string>& last) {
    const Outcome outcome = run_tool(mpirun(), with_more_ranks(as_ranks(2, first), 1, last));
    EXPECT_EQ(outcome.code, 2) << outcome.out;
    EXPECT_TRUE(begins(outcome.err, "train: rank 2 on ")) << outcome.err;
    EXPECT_FALSE(fs::exists(folder_ / "run"));
    return outcome.err;
  };
  const auto set = [&](const char* text) {
    return tiny_flags({"--set", text, "--output", (folder_ / "run").string()}) + data_;
  };
  const std::string seeds = refused(set("seed=1"), set("seed=2"));
  EXPECT_TRUE(has(seeds, "seed: 2, not 1")) << seeds;
  const std::string typo = refused(set("seed=1"), set("train.lerning_rate=1"));
  EXPECT_TRUE(has(typo, "learning_rate")) << typo;
  write_class_folders(folder_ / "many", 6);
  write_class_folders(folder_ / "few", 5);
  const std::string sizes =
      refused(folder_flags(folder_ / "run", folder_ / "many"), folder_flags(folder_ / "run", folder_ / "few"));
  EXPECT_TRUE(has(sizes, "training images: 10, not 12")) << sizes;
}

TEST_F(TrainRanks, AnErrorOfOneEndsAll) {
  write_class_folders(folder_ / "good", 8);
  write_class_folders(folder_ / "bad", 8);
  write_text(folder_ / "bad" / "b" / "7.ppm", "no picture");
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome =
      run_tool(mpirun(), with_more_ranks(as_ranks(1, folder_flags(folder_ / "run", folder_ / "good")), 1,
                                         folder_flags(folder_ / "run", folder_ / "bad")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  EXPECT_EQ(outcome.code, 1) << outcome.out;
  EXPECT_TRUE(begins(outcome.err, "train: rank 1 on ")) << outcome.err;
  EXPECT_TRUE(has(outcome.err.substr(0, outcome.err.find('\n')), "7.ppm")) << outcome.err;
}

// Whose loss is not finite knows it on every rank.
TEST_F(TrainRanks, AnErrorOfAllInTrainingIsToldByOne) {
  const Outcome outcome = run(2, tiny_flags({"--set", "train.optimizer={name: sgd}", "--set", "train.learning_rate=1e9",
                                             "--output", (folder_ / "run").string()}) +
                                     data_);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(begins(outcome.err, "train: rank 0 on ")) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "learning rate 1e+09")) << outcome.err;
  EXPECT_FALSE(has(outcome.err, "rank 1 on")) << outcome.err;
  EXPECT_TRUE(fs::exists(folder_ / "run" / "last.safetensors"));
}

size_t steps_of(const fs::path& run) {
  const fs::path file = run / "steps.csv";
  return fs::exists(file) ? std::max<size_t>(read_lines(file).size(), 1) - 1 : 0;
}

TEST_F(TrainRanks, AKilledRankEndsAllAndTheRunIsResumed) {
  const fs::path run = folder_ / "run";
  const std::vector<std::string> endless = {"--set", "train.max_steps=0",       "--set", "train.epochs=100000",
                                            "--set", "train.save_every_steps=4"};
  Tool tool(mpirun(), as_ranks(3, uneven_flags(run, data_ + endless)));
  ASSERT_TRUE(tool.wait_until([&] { return steps_of(run) > 9; }));
  const pid_t victim = process_of_rank(tool.pid(), 1);
  ASSERT_GT(victim, 0);
  const auto begin = std::chrono::steady_clock::now();
  kill(victim, SIGKILL);
  const Outcome outcome = tool.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_NE(outcome.code, 0);
  EXPECT_TRUE(has(outcome.err, "rank 1")) << outcome.err;

  const size_t reached = steps_of(run) + 5;
  const std::string end = "train.max_steps=" + std::to_string(reached);
  train(2, {"--resume", run.string(), "--set", end});
  train(1, uneven_flags(folder_ / "one", endless + std::vector<std::string>{"--set", end}));
  EXPECT_EQ(steps_of(run), reached);
  expect_same_losses(run, folder_ / "one");
}

TEST_F(TrainRanks, ASignalThatMpirunPassesOnSavesAndStops) {
  const fs::path run = folder_ / "run";
  Tool tool(mpirun(), as_ranks(2, uneven_flags(run, data_ + std::vector<std::string>{"--set", "train.max_steps=0",
                                                                                     "--set", "train.epochs=100000"})));
  ASSERT_TRUE(tool.wait_until([&] { return steps_of(run) > 3; }));
  tool.signal(SIGUSR1);
  const Outcome outcome = tool.wait();
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "--resume " + run.string())) << outcome.out;
  EXPECT_EQ(outcome.err.find("Interrupted: finishing"), outcome.err.rfind("Interrupted: finishing")) << outcome.err;
  const std::string log = read_text(run / "log.txt");
  EXPECT_TRUE(has(log, "interrupted and saved after step " + std::to_string(steps_of(run)))) << log;
}

}  // namespace
}  // namespace striate::test
