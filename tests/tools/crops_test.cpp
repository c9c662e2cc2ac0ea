#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data/datasets/synthetic.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"
#include "tools/experiments/metrics_table.h"
#include "tools/experiments/png.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Drawn pictures stand in for photographs: a disc, a ring, a square, a triangle, in a folder and one below it.
void write_pictures(const fs::path& folder) {
  const auto drawn = open_synthetic({.height = 180, .width = 240}).train;
  fs::create_directories(folder / "more");
  for (int i = 0; i < 4; ++i) {
    write_png(drawn->load(i), folder / (i < 2 ? "" : "more") / (drawn->class_names()[drawn->label(i)] + ".png"));
  }
}

std::vector<std::string> flags_for(const fs::path& photographs, const fs::path& output) {
  std::vector<std::string> flags = {"--config", std::string(STRIATE_CONFIGS_DIR) + "/photographs_first_layer.yaml"};
  for (const std::string& set :
       {"data.path=" + photographs.string(), std::string("data.crops={train_crops: 64, test_crops: 12}"),
        std::string("data.workers=1"), std::string("threads=1"), std::string("train.epochs=2"),
        std::string("train.batch_size=16"), std::string("analysis={kernels: false, tuning: false}")}) {
    flags.insert(flags.end(), {"--set", set});
  }
  flags.insert(flags.end(), {"--output", output.string()});
  return flags;
}

TEST(TrainOnCrops, TheShippedConfigurationLearnsWhichPictureACropIsOf) {
  TempDir folder;
  write_pictures(folder / "pictures");
  const Outcome outcome = run_tool("train", flags_for(folder / "pictures", folder / "run"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(has(outcome.out, "on crops, 4 classes")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "images: 64 to train, 12 to validate")) << outcome.out;
  const MetricsTable table = MetricsTable::read(folder / "run" / "metrics.csv");
  ASSERT_EQ(table.column("train_loss").size(), 3u);
  EXPECT_LT(*table.column("train_loss")[2], *table.column("train_loss")[1]);
  EXPECT_TRUE(table.column("val_loss")[2].has_value()) << "the held-out strips are measured";
  EXPECT_EQ(read_lines(folder / "run" / "steps.csv").size(), 1u + 2 * 4);

  const Outcome evaluated = run_tool("evaluate", {"--run", (folder / "run").string(), "--split", "val"});
  EXPECT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_TRUE(has(evaluated.out, "triangle")) << evaluated.out;
}

TEST(TrainOnCrops, PhotographsMustBeThere) {
  TempDir folder;
  std::vector<std::string> flags = flags_for("", folder / "run");
  const Outcome unset = run_tool("train", flags);
  EXPECT_EQ(unset.code, 2) << unset.err;
  EXPECT_TRUE(has(unset.err, "data.path is not set")) << unset.err;
  const Outcome missing = run_tool("train", flags_for(folder / "none", folder / "run"));
  EXPECT_EQ(missing.code, 1) << missing.err;
  EXPECT_TRUE(has(missing.err, (folder / "none").string() + ": no such folder")) << missing.err;
  EXPECT_FALSE(fs::exists(folder / "run" / "metrics.csv"));
}

}  // namespace
}  // namespace striate::test
