#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "engine/config.h"
#include "kernels/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/experiments/metrics_table.h"
#include "tools/sweep_plan.h"
#include "tools/sweep_table.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

using Values = std::vector<std::string>;

TEST(VariedKey, SplitsValuesOutsideBrackets) {
  const auto values = [](const std::string& text) { return VariedKey::parse(text).values; };
  EXPECT_EQ(VariedKey::parse("train.learning_rate=0.1,0.01").key, "train.learning_rate");
  EXPECT_EQ(values("train.learning_rate=0.1,0.01,1e-3"), (Values{"0.1", "0.01", "1e-3"}));
  EXPECT_EQ(values("model.name=lenet"), (Values{"lenet"}));
  EXPECT_EQ(values("data.train_transforms=[[a],[b, c]]"), (Values{"[a]", "[b, c]"}));
  EXPECT_EQ(values("data.image_size=[32, 32],[48, 40]"), (Values{"[32, 32]", "[48, 40]"}));
  EXPECT_EQ(values("data.image_size=[32,48]"), (Values{"32", "48"}));
  EXPECT_EQ(values("train.schedule={name: cosine},{name: step, size: 2}"),
            (Values{"{name: cosine}", "{name: step, size: 2}"}));
  EXPECT_EQ(values("data.train_transforms=[[], [{random_crop: {size: 32, padding: 4}}, horizontal_flip]]"),
            (Values{"[]", "[{random_crop: {size: 32, padding: 4}}, horizontal_flip]"}));
  // What the configuration's reader makes of a value is what was written.
  const Values crops = values("k=[[{random_crop: {size: 32, padding: 4}}]]");
  EXPECT_EQ(ConfigReader::load("", {"k=" + crops[0]}).list("k")[0].section("random_crop").get("padding", 0), 4);
  EXPECT_EQ(values("k='a, b',c"), (Values{"\"a, b\"", "c"}));
}

TEST(VariedKey, RefusesNonsense) {
  for (const char* text : {"train.epochs", "=1,2", "k=", "k=[1,2", "k=1,1", "k=[]"}) {
    EXPECT_THROW(VariedKey::parse(text), ConfigError) << text;
  }
}

TEST(SweepPlan, MultipliesKeys) {
  const auto runs = plan_sweep({{"train.learning_rate", {"0.1", "0.01"}}, {"data.train_transforms", {"[]", "[flip]"}}});
  ASSERT_EQ(runs.size(), 4u);
  EXPECT_EQ(runs[1].overrides(), (Values{"train.learning_rate=0.1", "data.train_transforms=[flip]"}));
  EXPECT_EQ(runs[2].title, "learning_rate 0.01, train_transforms []");
  std::set<std::string> folders;
  for (const SweepRun& run : runs) {
    folders.insert(run.folder);
    EXPECT_EQ(run.folder.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.=-+"), std::string::npos)
        << run.folder;
  }
  EXPECT_EQ(folders.size(), 4u);
  EXPECT_EQ(plan_sweep({{"train.learning_rate", {"0.1"}}})[0].folder, "learning_rate=0.1");
  // A folder does not hang on what else is varied over the key.
  EXPECT_EQ(plan_sweep({{"train.learning_rate", {"1", "0.1"}}})[1].folder, "learning_rate=0.1");
  EXPECT_EQ(plan_sweep({{"train.optimizer.name", {"adam"}}})[0].folder, "optimizer=adam");
  const auto alike = plan_sweep({{"data.synthetic.seed", {"1"}}, {"seed", {"2"}}});
  EXPECT_EQ(alike[0].title, "data.synthetic.seed 1, seed 2");
  const std::string longer(300, 'x');
  EXPECT_LT(plan_sweep({{"k", {longer, longer + "y"}}})[0].folder.size(), 130u);
  EXPECT_NE(plan_sweep({{"k", {longer, longer + "y"}}})[0].folder,
            plan_sweep({{"k", {longer, longer + "y"}}})[1].folder);
  EXPECT_THROW(plan_sweep({}), ConfigError);
  EXPECT_THROW(plan_sweep({{"k", {"1"}}, {"k", {"2"}}}), ConfigError);
}

constexpr const char* kHeader =
    "epoch,learning_rate,train_loss,train_top1,val_loss,val_top1,val_macro_f1,test_loss,test_top1,images_per_second,"
    "seconds\n";

TEST(SweepFigures, AreTheBestEpochs) {
  TempDir folder;
  const fs::path csv = folder / "metrics.csv";
  write_text(csv, std::string(kHeader) +
                      "0,0.1,,,2.3,0.99,0.1,,,,1\n1,0.1,2.0,0.2,1.5,0.5,0.45,,,100,2\n2,0.1,1.0,0.6,1.2,0.6,0.55,,,300,"
                      "3\n3,0.1,0.5,0.8,1.4,0.7,0.65,1.3,0.66,200,4\n");
  const auto by_loss = sweep_figures(csv, "val_loss"), by_accuracy = sweep_figures(csv, "val_top1");
  ASSERT_TRUE(by_loss && by_accuracy);
  EXPECT_EQ(by_loss->best_epoch, 2.0);
  EXPECT_EQ(by_loss->val_top1, 0.6);
  EXPECT_EQ(by_loss->train_loss, 1.0);
  EXPECT_EQ(by_accuracy->best_epoch, 3.0) << "the network before training is no candidate";
  EXPECT_EQ(by_accuracy->val_loss, 1.4);
  EXPECT_EQ(by_accuracy->test_top1, 0.66);
  EXPECT_EQ(by_accuracy->images_per_second, 200.0) << "the median";
  EXPECT_EQ(by_accuracy->seconds, 10.0);
  write_text(csv, std::string(kHeader) + "0,0.1,,,2.3,0.1,0.1,,,,1\n");
  EXPECT_FALSE(sweep_figures(csv, "val_loss")) << "nothing is trained yet";
  write_text(csv, std::string(kHeader) + "0,0.1,,,,,,,,,1\n1,0.1,2,0.1,,,,,,50,1\n2,0.1,1,0.1,,,,,,50,1\n");
  EXPECT_EQ(sweep_figures(csv, "val_loss")->best_epoch, 2.0) << "without validation the last";
  EXPECT_FALSE(sweep_figures(folder / "none.csv", "val_loss"));
}

std::vector<std::string> sweep_flags(const fs::path& output, const std::vector<std::string>& more) {
  std::vector<std::string> flags = tiny_flags({"--set", "train.epochs=1", "--output", output.string()});
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

TEST(Sweep, TrainsEveryCombinationAndComparesThem) {
  TempDir folder;
  const fs::path output = folder / "sweep";
  const Outcome outcome =
      run_tool("sweep", sweep_flags(output, {"--vary", "train.batch_size=16,40", "--vary",
                                             "data.train_transforms=[[], [horizontal_flip]]", "--set",
                                             "train.submission=" + (folder / "s.csv").string()}));
  ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const auto lines = read_lines(output / "sweep.csv");
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0],
            "run,status,train.batch_size,data.train_transforms,best_epoch,train_loss,val_loss,val_top1,val_macro_f1,"
            "test_loss,test_top1,images_per_second,seconds");
  int runs = 0;
  for (const auto& entry : fs::directory_iterator(output)) {
    if (!entry.is_directory()) continue;
    ++runs;
    EXPECT_TRUE(fs::exists(entry.path() / "best.safetensors")) << entry.path();
    EXPECT_TRUE(fs::exists(entry.path() / "s.csv")) << "each run writes its own submission";
  }
  EXPECT_EQ(runs, 4);
  EXPECT_FALSE(fs::exists(folder / "s.csv"));
  for (size_t i = 1; i < lines.size(); ++i) EXPECT_TRUE(has(lines[i], ",finished,")) << lines[i];
  EXPECT_TRUE(has(lines[1], ",finished,16,[],1,")) << lines[1];
  EXPECT_TRUE(has(lines[4], ",finished,40,[horizontal_flip],1,")) << lines[4];
  EXPECT_GT(Picture::read(output / "sweep.png").width, 1000);
  EXPECT_TRUE(has(outcome.out, "batch_size 40, train_transforms [horizontal_flip]")) << outcome.out;

  // A run of a sweep is the run that train makes alone.
  train_tiny(folder / "alone",
             {"--set", "train.epochs=1", "--set", "train.batch_size=40", "--set", "data.train_transforms=[]"});
  bool found = false;
  for (const auto& entry : fs::directory_iterator(output)) {
    found |= entry.is_directory() && read_text(entry.path() / "steps.csv") == read_text(folder / "alone" / "steps.csv");
  }
  EXPECT_TRUE(found);

  // The same command again has nothing to do; another configuration may not mix with it.
  const std::string before = read_text(output / "sweep.csv");
  const Outcome again = run_tool("sweep", sweep_flags(output, {"--vary", "train.batch_size=16,40", "--vary",
                                                               "data.train_transforms=[[], [horizontal_flip]]", "--set",
                                                               "train.submission=" + (folder / "s.csv").string()}));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(has(again.out, "finished before")) << again.out;
  EXPECT_FALSE(has(again.out, "epoch 1")) << again.out;
  EXPECT_EQ(read_text(output / "sweep.csv"), before);
  const Outcome other = run_tool("sweep", sweep_flags(output, {"--vary", "train.batch_size=16", "--set", "seed=9"}));
  EXPECT_EQ(other.code, 2) << other.out;
  EXPECT_TRUE(has(other.err, "another configuration")) << other.err;
}

TEST(Sweep, GoesOnPastARunThatFails) {
  TempDir folder;
  const fs::path output = folder / "sweep";
  const Outcome outcome = run_tool("sweep", sweep_flags(output, {"--vary", "train.learning_rate=1e30,0.002", "--set",
                                                                 "train.optimizer={name: sgd}"}));
  EXPECT_EQ(outcome.code, 1) << outcome.out;
  EXPECT_TRUE(has(outcome.err, "learning_rate 1e30 failed with exit code 1")) << outcome.err;
  const auto lines = read_lines(output / "sweep.csv");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(has(lines[1], "1e30,failed,1e30,")) << lines[1];
  EXPECT_TRUE(has(lines[2], "0.002,finished,0.002,1,")) << lines[2];
}

class StoppedSweep : public testing::TestWithParam<int> {};

TEST_P(StoppedSweep, GoesOnWithTheSameCommand) {
  TempDir folder;
  const fs::path output = folder / "sweep", reference = folder / "whole";
  const auto flags = [](const fs::path& to) {
    return sweep_flags(to, {"--vary", "train.batch_size=16,20", "--set", "train.epochs=2"});
  };
  ASSERT_EQ(run_tool("sweep", flags(reference)).code, 0);
  Tool tool("sweep", flags(output));
  const fs::path first = output / "batch_size=16";
  EXPECT_TRUE(tool.wait_until([&] {
    std::error_code ignored;
    return fs::exists(first / "steps.csv", ignored) && fs::file_size(first / "steps.csv", ignored) > 200;
  })) << "it ended before step 5";
  tool.signal(GetParam());
  const Outcome stopped = tool.wait();
  if (GetParam() == SIGINT) {
    EXPECT_EQ(stopped.code, 130) << stopped.out << stopped.err;
    EXPECT_TRUE(has(read_text(output / "sweep.csv"), "batch_size=16,interrupted,")) << read_text(output / "sweep.csv");
    EXPECT_TRUE(has(read_text(output / "sweep.csv"), "batch_size=20,waiting,"));
  } else {
    // What trained is told that its sweep is gone, saves and ends; its last line in the log says so.
    for (int i = 0; i < 600 && !has(read_text(first / "log.txt"), " after step "); ++i) usleep(50'000);
  }
  const Outcome rest = run_tool("sweep", flags(output));
  EXPECT_EQ(rest.code, 0) << rest.out << rest.err;
  EXPECT_TRUE(has(rest.out, "esumed after step")) << rest.out;
  for (const char* run : {"batch_size=16", "batch_size=20"}) {
    EXPECT_EQ(read_text(output / run / "steps.csv"), read_text(reference / run / "steps.csv")) << run;
    EXPECT_TRUE(read_text(output / run / "last.safetensors") == read_text(reference / run / "last.safetensors"));
  }
}

INSTANTIATE_TEST_SUITE_P(By, StoppedSweep, testing::Values(SIGINT, SIGKILL),
                         [](const auto& tested) { return std::string(tested.param == SIGINT ? "CtrlC" : "Kill"); });

}  // namespace
}  // namespace striate::test
