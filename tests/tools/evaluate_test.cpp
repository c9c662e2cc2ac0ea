#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/train/safetensors.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/experiments/metrics_table.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Evaluate, AgreesWithTheRun) {
  TempDir folder;
  const fs::path run = folder / "run";
  train_tiny(run, {"--set", "data.normalize=computed"});
  const MetricsTable metrics = MetricsTable::read(run / "metrics.csv");

  const Outcome test = run_tool("evaluate", {"--run", run.string(), "--json", (folder / "test.json").string(),
                                             "--per-image", (folder / "images.csv").string()});
  ASSERT_EQ(test.code, 0) << test.err;
  EXPECT_EQ(test.err, "");
  const json result = json::parse(read_text(folder / "test.json"));
  EXPECT_EQ(result["images"], 50);
  EXPECT_DOUBLE_EQ(result["top1"], *metrics.column("test_top1").back());
  EXPECT_NEAR(result["loss"], *metrics.column("test_loss").back(), 1e-7);
  EXPECT_GE(result["top5"], result["top1"]);
  ASSERT_EQ(result["per_class"].size(), 10u);
  ASSERT_EQ(result["confusion"].size(), 10u);
  int64_t all = 0, right = 0;
  for (size_t t = 0; t < 10; ++t) {
    int64_t row = 0;
    for (const int64_t count : result["confusion"][t]) row += count;
    EXPECT_EQ(row, 5) << "the drawn classes take turns";
    EXPECT_DOUBLE_EQ(result["per_class"][t], result["confusion"][t][t].get<double>() / 5.0);
    all += row;
    right += result["confusion"][t][t].get<int64_t>();
  }
  EXPECT_EQ(all, 50);
  EXPECT_DOUBLE_EQ(result["top1"], static_cast<double>(right) / 50.0);

  EXPECT_GT(Picture::read(run / "confusion_test.png").width, 500);
  EXPECT_EQ(read_lines(run / "confusion_test.csv").size(), 11u);

  const auto rows = read_lines(folder / "images.csv");
  ASSERT_EQ(rows.size(), 51u);
  EXPECT_EQ(rows[0], "image,label,prediction,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9");
  int64_t agreeing = 0;
  for (size_t i = 1; i < rows.size(); ++i) {
    std::istringstream cells(rows[i]);
    std::vector<double> values;
    for (std::string cell; std::getline(cells, cell, ',');) values.push_back(std::stod(cell));
    ASSERT_EQ(values.size(), 13u);
    EXPECT_EQ(values[0], static_cast<double>(i - 1));
    EXPECT_EQ(values[1], static_cast<double>((i - 1) % 10));
    agreeing += values[1] == values[2];
    double sum = 0.0;
    for (size_t c = 3; c < 13; ++c) {
      sum += values[c];
      EXPECT_LE(values[c], values[3 + static_cast<size_t>(values[2])]) << "the prediction is the likeliest class";
    }
    EXPECT_NEAR(sum, 1.0, 1e-4);
  }
  EXPECT_EQ(agreeing, right);

  const Outcome val = run_tool("evaluate", {"--run", run.string(), "--split", "val", "--checkpoint", "last", "--json",
                                            (folder / "val.json").string(), "--output", (folder / "figures").string()});
  ASSERT_EQ(val.code, 0) << val.err;
  EXPECT_EQ(json::parse(read_text(folder / "val.json"))["images"], 40);
  EXPECT_DOUBLE_EQ(json::parse(read_text(folder / "val.json"))["top1"], *metrics.column("val_top1").back());
  EXPECT_TRUE(fs::exists(folder / "figures" / "confusion_val.png"));

  // The same weights, named as a model.
  const std::string weights = (run / "best.safetensors").string();
  const Outcome model =
      run_tool("evaluate", {"--model", "alexnet_mini", "--weights", weights, "--config", (run / "config.yaml").string(),
                            "--json", (folder / "model.json").string()});
  ASSERT_EQ(model.code, 0) << model.err;
  EXPECT_EQ(json::parse(read_text(folder / "model.json")), result);
}

TEST(Evaluate, WritesALayersOutputForEveryImage) {
  TempDir folder;
  // 50 images in batches of 16: the last batch is smaller.
  const std::vector<std::string> network = {"--config", std::string(STRIATE_CONFIGS_DIR) + "/synthetic.yaml",
                                            "--set",    "data.synthetic={train_images: 20, test_images: 50}",
                                            "--set",    "train.batch_size=16"};
  const auto features = [&](const std::string& layer, std::vector<std::string> more) {
    const std::string file = (folder / "features.safetensors").string();
    more.insert(more.begin(), network.begin(), network.end());
    more.insert(more.end(), {"--features", layer, file});
    const Outcome outcome = run_tool("evaluate", more);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_safetensors(file);
  };
  // The last layer's values are the logits, from which --per-image makes its probabilities.
  const Safetensors logits = features("classifier.4", {"--per-image", (folder / "images.csv").string()});
  ASSERT_EQ(logits.tensors.size(), 2u);
  EXPECT_EQ(logits.metadata,
            (Metadata{{"model", "lenet"}, {"layer", "classifier.4"}, {"split", "test"}, {"layout", "NHWC"}}));
  const Tensor& values = *logits.find("features");
  ASSERT_EQ(values.shape(), (Shape{50, 10}));
  ASSERT_EQ(logits.find("labels")->shape(), (Shape{50}));
  const auto rows = read_lines(folder / "images.csv");
  ASSERT_EQ(rows.size(), 51u);
  for (size_t i = 0; i < 50; ++i) {
    std::istringstream cells(rows[i + 1]);
    std::vector<double> row;
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(std::stod(cell));
    EXPECT_EQ(row[1], logits.find("labels")->data<int32_t>()[i]);
    double sum = 0.0;
    for (size_t c = 0; c < 10; ++c) sum += std::exp(double{values.data<float>()[10 * i + c]});
    for (size_t c = 0; c < 10; ++c) {
      EXPECT_NEAR(row[3 + c], std::exp(double{values.data<float>()[10 * i + c]}) / sum, 1e-5) << i << " " << c;
    }
  }

  const Tensor conv = *features("features.0", {"--split", "train"}).find("features");
  const Tensor rectified = *features("features.1", {"--split", "train"}).find("features");
  ASSERT_EQ(conv.shape(), (Shape{20, 32, 32, 6}));
  ASSERT_EQ(rectified.shape(), conv.shape());
  bool negative = false;
  for (int64_t i = 0; i < conv.size(); ++i) {
    negative |= conv.data<float>()[i] < 0.0f;
    ASSERT_EQ(rectified.data<float>()[i], std::max(conv.data<float>()[i], 0.0f)) << i;
  }
  EXPECT_TRUE(negative) << "a convolution's output is the one before its ReLU";

  std::vector<std::string> unknown = network;
  unknown.insert(unknown.end(), {"--features", "clasifier.4", (folder / "none").string()});
  const Outcome refused = run_tool("evaluate", unknown);
  EXPECT_EQ(refused.code, 2) << refused.out;
  EXPECT_TRUE(has(refused.err, "did you mean 'classifier.4'")) << refused.err;
  EXPECT_TRUE(has(refused.err, "features.0, features.1")) << refused.err;
  EXPECT_FALSE(fs::exists(folder / "none"));
  EXPECT_FALSE(fs::exists(folder / "none.partial"));
}

TEST(Evaluate, SaysThatWeightsAreFresh) {
  const Outcome outcome = run_tool("evaluate", {"--model", "lenet", "--set", "data.dataset=synthetic", "--set",
                                                "data.synthetic={train_images: 20, test_images: 30}"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "freshly initialised")) << outcome.out;
}

TEST(Evaluate, TakesANetworkFromSettingsAlone) {
  const Outcome whole = run_tool("evaluate", {"--set", "model.name=lenet", "--set", "data.dataset=synthetic", "--set",
                                              "data.synthetic={train_images: 20, test_images: 30}"});
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_TRUE(has(whole.out, "lenet on synthetic")) << whole.out;
  const Outcome no_data = run_tool("evaluate", {"--set", "model.name=lenet"});
  EXPECT_EQ(no_data.code, 2);
  EXPECT_TRUE(has(no_data.err, "no dataset is named")) << no_data.err;
  const Outcome no_network = run_tool("evaluate", {"--set", "data.dataset=synthetic"});
  EXPECT_EQ(no_network.code, 2);
  EXPECT_TRUE(has(no_network.err, "no network is named")) << no_network.err;
}

TEST(Evaluate, RefusesWhatItCannotWriteBeforeItMeasures) {
  TempDir folder;
  const std::string file = (folder / "file").string();
  write_text(file, "");
  for (const char* flag : {"--json", "--per-image", "--output"}) {
    const Outcome outcome =
        run_tool("evaluate", {"--model", "lenet", "--set", "data.dataset=synthetic", "--set",
                              "data.synthetic={train_images: 20, test_images: 30}", flag, file + "/result"});
    EXPECT_EQ(outcome.code, 1) << flag;
    EXPECT_TRUE(has(outcome.err, std::string(flag) + " " + file)) << outcome.err;
    EXPECT_EQ(outcome.out, "") << flag;
  }
}

TEST(Evaluate, NamesTheLastWeightsWhereThereAreNoBest) {
  TempDir folder;
  const fs::path run = folder / "run";
  std::vector<std::string> flags = tiny_flags({"--set", "train.epochs=0"});
  flags.insert(flags.end(), {"--output", run.string()});
  const Outcome trained = run_tool("train", flags);
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_TRUE(has(trained.out, "Weights  " + (run / "last.safetensors").string())) << trained.out;
  const Outcome outcome = run_tool("evaluate", {"--run", run.string()});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "--checkpoint last")) << outcome.err;
}

}  // namespace
}  // namespace striate::test
