#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/nn/layers.h"
#include "tests/data/hdf5_files.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/run_config.h"
#include "tools/ten_crop_network.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The column of a CSV by its name, as text.
std::vector<std::string> column(const fs::path& csv, const std::string& name) {
  std::vector<std::string> cells;
  size_t wanted = 0;
  for (const std::string& line : read_lines(csv)) {
    std::istringstream in(line);
    size_t number = 0;
    for (std::string cell; std::getline(in, cell, ','); ++number) {
      if (cells.empty() && cell == name) {
        wanted = number;
        cells.push_back(cell);
        break;
      }
      if (!cells.empty() && number == wanted) cells.push_back(cell);
    }
  }
  if (!cells.empty()) cells.erase(cells.begin());
  return cells;
}

void write_picture(const fs::path& file, int height, int width, int seed) {
  fs::create_directories(file.parent_path());
  std::string text = fmt::format("P6 {} {} 255\n", width, height);
  for (int v = 0; v < height * width * 3; ++v) text += static_cast<char>((seed * 37 + v * v / (5 + seed)) % 253);
  write_text(file, text);
}

TEST(Submission, HasTheLikeliestClassOfEveryImage) {
  TempDir folder;
  const fs::path run = folder / "run", at_end = folder / "at_end.csv";
  train_tiny(run, {"--set", "train.submission=" + at_end.string()});
  const std::string csv = (folder / "submission.csv").string(), images = (folder / "images.csv").string();
  const Outcome outcome = run_tool("evaluate", {"--run", run.string(), "--submission", csv, "--per-image", images});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = read_lines(csv);
  ASSERT_EQ(lines.size(), 51u);
  EXPECT_EQ(lines[0], "Id,Category");
  const auto predictions = column(images, "prediction");
  for (size_t i = 1; i < lines.size(); ++i) EXPECT_EQ(lines[i], fmt::format("{},{}", i, predictions[i - 1]));
  EXPECT_EQ(read_text(at_end), read_text(csv)) << "training ends with the best weights' predictions";
  EXPECT_EQ(RunConfig::load((run / "config.yaml").string(), {}).train.submission, at_end.string());
}

TEST(Submission, IsPromisedBeforeTraining) {
  TempDir folder;
  write_picture(folder / "data" / "a" / "0.ppm", 4, 4, 1);
  write_picture(folder / "data" / "b" / "0.ppm", 4, 4, 2);
  const std::vector<std::string> flags = {"--set",    "model.name=lenet",
                                          "--set",    "data.dataset=image_folder",
                                          "--set",    "data.path=" + (folder / "data").string(),
                                          "--output", (folder / "run").string()};
  std::vector<std::string> no_test = flags, no_folder = tiny_flags({"--output", (folder / "run").string()});
  no_test.insert(no_test.end(), {"--set", "train.submission=" + (folder / "s.csv").string()});
  const Outcome outcome = run_tool("train", no_test);
  EXPECT_EQ(outcome.code, 2) << outcome.out;
  EXPECT_TRUE(has(outcome.err, "no test part")) << outcome.err;
  no_folder.insert(no_folder.end(), {"--set", "train.submission=" + (folder / "none" / "s.csv").string()});
  const Outcome missing = run_tool("train", no_folder);
  EXPECT_EQ(missing.code, 1) << missing.out;
  EXPECT_TRUE(has(missing.err, "train.submission " + (folder / "none").string())) << missing.err;
  EXPECT_FALSE(fs::exists(folder / "run" / "config.yaml")) << "nothing was begun";
}

TEST(Submission, TakesAPartWithoutLabels) {
  TempDir folder;
  for (int i = 0; i < 6; ++i) {
    write_picture(folder / "data" / "train" / (i % 2 == 0 ? "even" : "odd") / fmt::format("{}.ppm", i), 32, 32, i);
    write_picture(folder / "data" / "val" / (i % 2 == 0 ? "even" : "odd") / fmt::format("{}.ppm", i), 32, 32, 9 + i);
    write_picture(folder / "data" / "test" / fmt::format("{}.ppm", i), 32, 32, 20 + i);
  }
  write_text(folder / "data" / "test" / "2.ppm", "broken");
  const fs::path run = folder / "run", csv = folder / "s.csv";
  const Outcome trained =
      run_tool("train", {"--set", "model.name=lenet", "--set", "data.dataset=image_folder", "--set",
                         "data.path=" + (folder / "data").string(), "--set", "data.image_size=32", "--set",
                         "data.skip_broken=true", "--set", "train.max_steps=2", "--set", "train.batch_size=4", "--set",
                         "train.submission=" + csv.string(), "--output", run.string()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto ids = column(csv, "Id");
  EXPECT_EQ(ids, (std::vector<std::string>{"1", "2", "4", "5", "6"})) << "the broken one keeps its number";

  const Outcome evaluated = run_tool("evaluate", {"--run", run.string(), "--submission", (folder / "e.csv").string(),
                                                  "--per-image", (folder / "images.csv").string()});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_EQ(read_text(folder / "e.csv"), read_text(csv));
  EXPECT_EQ(column(folder / "images.csv", "prediction"), column(csv, "Category"));
  EXPECT_TRUE(has(read_lines(folder / "images.csv")[1], "0,,")) << "no label";
  EXPECT_TRUE(has(evaluated.out, "without labels")) << evaluated.out;
  EXPECT_FALSE(fs::exists(run / "confusion_test.csv"));
  const Outcome val = run_tool("evaluate", {"--run", run.string(), "--split", "val"});
  EXPECT_EQ(val.code, 0) << val.err;
  EXPECT_TRUE(has(val.out, "images     6")) << val.out;

  const Outcome nothing = run_tool("evaluate", {"--run", run.string()});
  EXPECT_EQ(nothing.code, 2) << nothing.out;
  EXPECT_TRUE(has(nothing.err, "--submission")) << nothing.err;
  const Outcome numbers = run_tool("evaluate", {"--run", run.string(), "--json", (folder / "x.json").string()});
  EXPECT_EQ(numbers.code, 2) << numbers.out;
  EXPECT_TRUE(has(numbers.err, "no labels")) << numbers.err;
}

TEST(Submission, TakesTheTestPartOfAnHdf5File) {
  TempDir folder;
  const auto images = [](uint64_t count) { return std::vector<uint64_t>{count, 3, 32, 32}; };
  const auto pixels = [](int count, int seed) {
    std::vector<uint8_t> values(static_cast<size_t>(count) * 3 * 32 * 32);
    for (size_t v = 0; v < values.size(); ++v) values[v] = static_cast<uint8_t>(seed * v + v * v / 7);
    return values;
  };
  const std::string file = (folder / "a.h5").string();
  {
    Hdf5Writer writer(file);
    writer.bytes("images-train", images(20), pixels(20, 1), {.chunk = {7, 3, 32, 32}, .deflate = 1});
    writer.integers("labels-train", {20}, std::vector<int64_t>(20, 2), Hdf5Type::int64_big_endian);
    writer.bytes("images-val", images(8), pixels(8, 2), {.chunk = {1, 3, 32, 32}});
    writer.integers("labels-val", {8, 1}, std::vector<int64_t>(8, 0));
    writer.bytes("images-test", images(11), pixels(11, 3));
  }
  write_text(folder / "names.txt", "ant\nbee\ncat\n");
  const fs::path run = folder / "run", csv = folder / "s.csv";
  const Outcome trained =
      run_tool("train", {"--config", std::string(STRIATE_CONFIGS_DIR) + "/e2_resnet18_medium_imagenet.yaml", "--set",
                         "model.name=lenet", "--set", "data.path=" + file, "--set",
                         "data.class_names=" + (folder / "names.txt").string(), "--set", "train.max_steps=1", "--set",
                         "train.batch_size=8", "--set", "train.submission=" + csv.string(), "--output", run.string()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto lines = read_lines(csv);
  ASSERT_EQ(lines.size(), 12u);
  EXPECT_EQ(lines[0], "Id,Category");
  EXPECT_EQ(lines[11].substr(0, 3), "11,");
  const Outcome evaluated = run_tool("evaluate", {"--run", run.string(), "--submission", (folder / "e.csv").string()});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_EQ(read_text(folder / "e.csv"), read_text(csv));
  const Outcome val = run_tool("evaluate", {"--run", run.string(), "--split", "val"});
  EXPECT_TRUE(has(val.out, "images     8")) << val.out << val.err;
  EXPECT_TRUE(has(val.out, "ant")) << val.out;
}

/// Logits are the mean of the image, once positive and once negative.
class MeanNetwork : public nn::Module {
 public:
  Tensor forward(const Tensor& x) override {
    const int64_t n = x.dim(0), values = x.size() / n;
    std::vector<float> logits;
    for (int64_t i = 0; i < n; ++i) {
      float sum = 0.0f;
      for (int64_t v = 0; v < values; ++v) sum += x.data<float>()[i * values + v];
      logits.insert(logits.end(), {sum / static_cast<float>(values), -sum / static_cast<float>(values)});
    }
    return Tensor::from(logits, {n, 2});
  }
  std::string type() const override { return "MeanNetwork"; }
};

TEST(TenCrops, AreAveragedAfterTheSoftmax) {
  TenCropNetwork network(std::make_shared<MeanNetwork>());
  // Two images; crop k of image i is filled with i + k/10.
  std::vector<float> values;
  double expected[2] = {0.0, 0.0};
  for (int i = 0; i < 2; ++i) {
    for (int k = 0; k < 10; ++k) {
      const float value = static_cast<float>(i) + 0.1f * static_cast<float>(k);
      values.insert(values.end(), 2 * 3, value);
      expected[i] += 0.1 / (1.0 + std::exp(-2.0 * double{value}));
    }
  }
  const Tensor logits = network(Tensor::from(values, {2, 20, 3, 1}));
  ASSERT_EQ(logits.shape(), (Shape{2, 2}));
  for (int i = 0; i < 2; ++i) {
    const double p = std::exp(double{logits.data<float>()[2 * i]});
    EXPECT_NEAR(p, expected[i], 1e-6);
    EXPECT_NEAR(p + std::exp(double{logits.data<float>()[2 * i + 1]}), 1.0, 1e-6) << "a softmax of it gives it back";
  }
}

TEST(TenCrops, AgreeWithEvaluatingEachCrop) {
  TempDir folder;
  // A picture without a margin shows ten crops of which five are the picture and five its mirror image.
  const std::vector<std::string> network = {"--config", std::string(STRIATE_CONFIGS_DIR) + "/synthetic.yaml",
                                            "--set",    "data.synthetic={train_images: 20, test_images: 30}",
                                            "--set",    "train.batch_size=16"};
  const auto probabilities = [&](std::vector<std::string> more) {
    more.insert(more.begin(), network.begin(), network.end());
    more.insert(more.end(), {"--per-image", (folder / "images.csv").string()});
    const Outcome outcome = run_tool("evaluate", more);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    std::vector<double> values;
    for (int c = 0; c < 10; ++c) {
      for (const std::string& cell : column(folder / "images.csv", fmt::format("p{}", c)))
        values.push_back(std::stod(cell));
    }
    return values;
  };
  const auto plain = probabilities({"--set", "data.test_transforms=[{center_crop: 32}]"});
  const auto mirrored = probabilities({"--set", "data.test_transforms=[{horizontal_flip: 1.0}, {center_crop: 32}]"});
  const auto ten = probabilities(
      {"--set", "data.test_transforms=[{center_crop: 32}]", "--ten-crop", "--json", (folder / "ten.json").string()});
  ASSERT_EQ(ten.size(), 300u);
  bool differ = false;
  for (size_t i = 0; i < ten.size(); ++i) {
    EXPECT_NEAR(ten[i], (plain[i] + mirrored[i]) / 2.0, 2e-6) << i;
    differ |= std::abs(plain[i] - mirrored[i]) > 1e-4;
  }
  EXPECT_TRUE(differ) << "the mirror image is another one";
  EXPECT_EQ(json::parse(read_text(folder / "ten.json"))["images"], 30);
}

TEST(TenCrops, NeedACentreCropToReplace) {
  for (const char* transforms : {"[]", "[{center_crop: 32}, {resize: [32, 32]}]"}) {
    const Outcome outcome =
        run_tool("evaluate", {"--config", std::string(STRIATE_CONFIGS_DIR) + "/synthetic.yaml", "--set",
                              "data.synthetic={train_images: 20, test_images: 30}", "--ten-crop", "--set",
                              std::string("data.test_transforms=") + transforms});
    EXPECT_EQ(outcome.code, 2) << outcome.out;
    EXPECT_TRUE(has(outcome.err, "do not end with a centre crop")) << outcome.err;
    EXPECT_TRUE(has(outcome.err, "{center_crop: [32, 32]}")) << outcome.err;
  }
}

}  // namespace
}  // namespace striate::test
