#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/experiments/metrics_table.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(FindLr, SuggestsARateAndLeavesNoRun) {
  TempDir folder;
  const fs::path output = folder / "found";
  std::vector<std::string> flags =
      tiny_flags({"--set", "train.optimizer={name: sgd, momentum: 0.9}", "--find-lr", "--output", output.string()});
  const Outcome outcome = run_tool("train", flags);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(has(outcome.out, "Suggested learning rate: ")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "--set train.learning_rate=")) << outcome.out;
  const MetricsTable table = MetricsTable::read(output / "learning_rate_finder.csv");
  EXPECT_EQ(table.columns, (std::vector<std::string>{"step", "learning_rate", "loss", "smoothed_loss"}));
  EXPECT_GT(table.rows.size(), 60u);
  EXPECT_DOUBLE_EQ(*table.column("learning_rate").front(), 1e-7);
  const Picture figure = Picture::read(output / "learning_rate_finder.png");
  EXPECT_GT(figure.count(0x0072B2), 500) << "the smoothed loss";
  EXPECT_GT(figure.count(0xD55E00), 100) << "the suggestion";
  int files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(output)) ++files;
  EXPECT_EQ(files, 2) << "nothing that looks like a run";

  // The same folder takes a run afterwards.
  train_tiny(output, {"--set", "train.max_steps=1"});
}

TEST(FindLr, IsNotForARunThatGoesOn) {
  TempDir folder;
  train_tiny(folder / "run", {"--set", "train.max_steps=1"});
  const Outcome outcome = run_tool("train", {"--resume", (folder / "run").string(), "--find-lr"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "--find-lr")) << outcome.err;
}

}  // namespace
}  // namespace striate::test
