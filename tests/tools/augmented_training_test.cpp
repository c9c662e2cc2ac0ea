// Runs whose images are mixed, erased and coloured by what was measured.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/config.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

/// tiny_flags() with every augmentation that a batch or the training data as a whole have a part in.
std::vector<std::string> augmented(const std::vector<std::string>& more = {}) {
  std::vector<std::string> flags;
  for (const char* set : {"data.mixup=0.4", "data.cutmix=1.0", "train.epochs=2", "train.label_smoothing=0.1",
                          "data.train_transforms=[{random_crop: {size: 32, padding: 4}}, {pca_color: {std: 0.2, "
                          "eigenvalues: computed}}, random_erasing]"}) {
    flags.insert(flags.end(), {"--set", set});
  }
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

TEST(AugmentedTraining, ResumedInMidEpochOrByOtherWorkersIsTheSameRun) {
  TempDir folder;
  train_tiny(folder / "whole", augmented());
  train_tiny(folder / "stopped", augmented({"--set", "train.max_steps=4", "--set", "data.workers=0"}));
  const Outcome rest = run_tool(
      "train", {"--resume", (folder / "stopped").string(), "--set", "train.max_steps=0", "--set", "data.workers=3"});
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(read_text(folder / "stopped" / "steps.csv"), read_text(folder / "whole" / "steps.csv"));
  EXPECT_TRUE(read_text(folder / "stopped" / "last.safetensors") == read_text(folder / "whole" / "last.safetensors"));

  train_tiny(folder / "unmixed", augmented({"--set", "data.mixup=0", "--set", "data.cutmix=0"}));
  EXPECT_NE(read_text(folder / "unmixed" / "steps.csv"), read_text(folder / "whole" / "steps.csv"));
}

TEST(AugmentedTraining, TheConfigurationHoldsTheMeasuredComponents) {
  TempDir folder;
  train_tiny(folder / "run", augmented({"--set", "train.max_steps=1"}));
  const std::string config = read_text(folder / "run" / "config.yaml");
  EXPECT_EQ(config.find("computed"), std::string::npos) << config;
  ConfigReader reader = ConfigReader::load((folder / "run" / "config.yaml").string());
  ConfigReader data = reader.section("data");
  ConfigReader pca = data.list("train_transforms").at(1).section("pca_color");
  EXPECT_EQ(pca.get("std", 0.0), 0.2);
  const std::vector<double> values = pca.get_numbers("eigenvalues"), vectors = pca.get_numbers("eigenvectors");
  ASSERT_EQ(values.size(), 3u);
  ASSERT_EQ(vectors.size(), 9u);
  EXPECT_GT(values[0], values[1]);
  EXPECT_GT(values[2], 0.0);
  for (size_t i = 0; i < 3; ++i) {
    const double length = vectors[i] * vectors[i] + vectors[3 + i] * vectors[3 + i] + vectors[6 + i] * vectors[6 + i];
    EXPECT_NEAR(length, 1.0, 1e-12);
  }
  const Outcome outcome = run_tool("evaluate", {"--run", (folder / "run").string()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
}

TEST(AugmentedTraining, AMeanImageLiesInTheRunsFolderAndGoesWithIt) {
  TempDir folder;
  const fs::path run = folder / "run", moved = folder / "moved";
  const std::vector<std::string> sets = {"--set", "data.normalize={mean_image: computed, std: 0.25}",
                                         "--set", "data.test_transforms=[{resize: 36}, {center_crop: 32}]",
                                         "--set", "train.epochs=1"};
  std::vector<std::string> half = sets;
  half.insert(half.end(), {"--set", "train.max_steps=4"});
  train_tiny(folder / "whole", sets);
  train_tiny(run, half);
  ASSERT_TRUE(fs::exists(run / "mean_image.safetensors"));
  EXPECT_NE(read_text(run / "config.yaml").find("mean_image: mean_image.safetensors"), std::string::npos);
  fs::rename(run, moved);
  const Outcome resumed = run_tool("train", {"--resume", moved.string(), "--set", "train.max_steps=0"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(read_text(moved / "steps.csv"), read_text(folder / "whole" / "steps.csv"));
  EXPECT_TRUE(read_text(moved / "last.safetensors") == read_text(folder / "whole" / "last.safetensors"));

  const std::string at = moved.string(), picture = (folder / "picture.png").string();
  const std::vector<std::pair<std::string, std::vector<std::string>>> uses = {
      {"evaluate", {"--run", at}},
      {"evaluate", {"--run", at, "--ten-crop"}},
      {"visualize", {"filtered", "--run", at, "--count", "1", "--output", picture}},
      {"predict", {"--run", at, picture}},
      {"visualize", {"predictions", "--run", at, "--images", picture}},
      {"visualize", {"imagine", "--run", at, "--steps", "2", "--count", "1"}},
      {"tune", {"--run", at, "--orientations", "4", "--phases", "2", "--frequencies", "3"}}};
  for (const auto& [tool, flags] : uses) {
    const Outcome outcome = run_tool(tool, flags);
    EXPECT_EQ(outcome.code, 0) << tool << " " << flags.front() << "\n" << outcome.err;
  }
  fs::remove(moved / "mean_image.safetensors");
  for (const auto& [tool, flags] : uses) {
    const Outcome outcome = run_tool(tool, flags);
    EXPECT_EQ(outcome.code, 1) << tool;
    EXPECT_NE(outcome.err.find((moved / "mean_image.safetensors").string()), std::string::npos) << outcome.err;
  }
}

TEST(AugmentedTraining, EveryDeviceMixes) {
  TempDir folder;
  for (const char* device : {"cpu", "reference", "cuda"}) {
    train_tiny(folder / device, {"--device", device, "--set", "model.name=lenet", "--set", "train.batch_size=4",
                                 "--set", "data.synthetic={train_images: 8, test_images: 2}", "--set", "data.mixup=1",
                                 "--set", "train.max_steps=2", "--set", "data.validation_fraction=0.5"});
  }
  const auto losses = [&](const char* device) {
    std::vector<double> found;
    const std::vector<std::string> lines = read_lines(folder / device / "steps.csv");
    for (size_t i = 1; i < lines.size(); ++i) {
      const size_t second = lines[i].find(',', lines[i].find(',') + 1);
      found.push_back(std::stod(lines[i].substr(second + 1)));
    }
    return found;
  };
  const std::vector<double> expected = losses("reference");
  ASSERT_EQ(expected.size(), 2u);
  for (const char* device : {"cpu", "cuda"}) {
    const std::vector<double> found = losses(device);
    ASSERT_EQ(found.size(), 2u);
    for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(found[i], expected[i], 1e-4) << device;
  }
}

TEST(AugmentedTraining, BatchesOfOneCannotBeMixed) {
  TempDir folder;
  std::vector<std::string> flags = tiny_flags({"--set", "data.cutmix=1", "--set", "train.batch_size=1"});
  flags.insert(flags.end(), {"--output", (folder / "run").string()});
  const Outcome outcome = run_tool("train", flags);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("train.batch_size is 1"), std::string::npos) << outcome.err;
  EXPECT_FALSE(fs::exists(folder / "run"));

  // To measure a network mixes nothing.
  train_tiny(folder / "run", {"--set", "data.cutmix=1", "--set", "train.max_steps=1"});
  const Outcome measured = run_tool("evaluate", {"--run", (folder / "run").string(), "--set", "train.batch_size=1"});
  EXPECT_EQ(measured.code, 0) << measured.err;
}

}  // namespace
}  // namespace striate::test
