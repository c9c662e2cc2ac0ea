#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Inspect, RefusesWeightsThatAreNotThere) {
  const Outcome outcome = run_tool("inspect", {"--model", "lenet", "--weights", "nosuch.safetensors"});
  EXPECT_EQ(outcome.code, 1) << outcome.out;
  EXPECT_TRUE(has(outcome.err, "nosuch.safetensors")) << outcome.err;
}

TEST(Inspect, TakesNoFlagForAValue) {
  // A tool that took it would write a file of that name.
  const Outcome value = run_tool("inspect", {"--model", "lenet", "--json", "--batch=4"});
  EXPECT_EQ(value.code, 2) << value.out;
  EXPECT_TRUE(has(value.err, "--json: its value is missing")) << value.err;
  EXPECT_FALSE(fs::remove("--batch=4"));
}

TEST(Inspect, NamesTheModelThatWasBegun) {
  const Outcome begun = run_tool("inspect", {"--model", "resnet"});
  EXPECT_EQ(begun.code, 2);
  EXPECT_TRUE(has(begun.err, "resnet18")) << begun.err;
}

json inspected(const TempDir& folder, std::vector<std::string> flags) {
  const std::string file = (folder / "inspect.json").string();
  flags.insert(flags.end(), {"--json", file});
  const Outcome outcome = run_tool("inspect", flags);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return json::parse(read_text(file));
}

TEST(Inspect, CountsWhatIsPublished) {
  TempDir folder;
  const json alexnet = inspected(folder, {"--model", "alexnet"});
  EXPECT_EQ(alexnet["model"], "alexnet");
  EXPECT_EQ(alexnet["input"], (json{224, 224, 3}));
  EXPECT_EQ(alexnet["batch"], 1);
  EXPECT_EQ(alexnet["parameters"], 61100840);
  EXPECT_NEAR(alexnet["macs"].get<double>(), 714e6, 1e6);  // torchvision's 0.714 GMAC
  int64_t parameters = 0, macs = 0;
  bool conv1 = false;
  for (const json& layer : alexnet["layers"]) {
    parameters += layer["parameters"].get<int64_t>();
    macs += layer["macs"].get<int64_t>();
    if (layer["name"] == "features.0") {
      conv1 = true;
      EXPECT_EQ(layer["type"], "Conv2d");
      EXPECT_EQ(layer["output"], (json{1, 55, 55, 64}));
      EXPECT_EQ(layer["parameters"], 64 * 11 * 11 * 3 + 64);
      EXPECT_EQ(layer["macs"], 55 * 55 * 64 * 11 * 11 * 3);
    }
  }
  EXPECT_TRUE(conv1);
  EXPECT_EQ(parameters, 61100840);
  EXPECT_EQ(macs, alexnet["macs"]);
  // Weights and momentum; gradients of the convolutions alone, for linear layers are updated as theirs arrive.
  EXPECT_GT(alexnet["training_bytes"], 2 * 4 * 61100840L);
  EXPECT_LT(alexnet["training_bytes"], 3 * 4 * 61100840L);
  EXPECT_GT(alexnet["training_bytes"], alexnet["tensor_bytes"]);
  EXPECT_GT(alexnet["workspace_bytes"], 1 << 20);
  EXPECT_GT(alexnet["process_bytes"], 1 << 20);
}

TEST(Inspect, TakesInputClassesAndBatch) {
  TempDir folder;
  const json lenet = inspected(folder, {"--model", "lenet", "--input", "28,28,1", "--classes", "10"});
  EXPECT_EQ(lenet["parameters"], 61706);
  EXPECT_EQ(lenet["input"], (json{28, 28, 1}));
  const json one = inspected(folder, {"--model", "alexnet_mini"});
  const json many = inspected(folder, {"--model", "alexnet_mini", "--batch", "32"});
  EXPECT_EQ(one["parameters"], 546634);
  EXPECT_EQ(many["macs"], one["macs"]);
  EXPECT_EQ(many["activation_bytes"].get<int64_t>(), 32 * one["activation_bytes"].get<int64_t>());
  EXPECT_EQ(inspected(folder, {"--model", "resnet18", "--input", "32,32,3", "--classes", "10"})["parameters"],
            11173962);
}

TEST(Inspect, KnowsARunWithoutItsData) {
  TempDir folder;
  train_tiny(folder / "run", {"--set", "train.max_steps=1"});
  const json run = inspected(folder, {"--run", (folder / "run").string()});
  EXPECT_EQ(run["model"], "alexnet_mini");
  EXPECT_EQ(run["parameters"], 137642);
  EXPECT_EQ(run["input"], (json{32, 32, 3}));
}

TEST(Inspect, BuildsForTheDatasetOfItsConfiguration) {
  TempDir folder;
  const std::string missing = "data.path=" + (folder / "nothing").string();
  const json grey = inspected(folder, {"--set", "model.name=lenet", "--set", "data.dataset=mnist", "--set", missing});
  EXPECT_EQ(grey["input"], (json{32, 32, 1}));
  EXPECT_EQ(grey["layers"].back()["output"], (json{1, 10}));
  const json hundred =
      inspected(folder, {"--set", "model.name=alexnet_mini", "--set", "data.dataset=cifar100", "--set", missing});
  EXPECT_EQ(hundred["input"], (json{32, 32, 3}));
  EXPECT_EQ(hundred["layers"].back()["output"], (json{1, 100}));
  const json padded = inspected(
      folder, {"--config", std::string(STRIATE_CONFIGS_DIR) + "/quickstart.yaml", "--set",
               "data.test_transforms=[{pad: 4}]", "--set", "data.train_transforms=[{pad: 4}]", "--set", missing});
  EXPECT_EQ(padded["input"], (json{36, 36, 1})) << "the transforms' size";
  const json given = inspected(folder, {"--set", "model.name=lenet", "--set", "data.dataset=mnist", "--set", missing,
                                        "--input", "28,28,3", "--classes", "12"});
  EXPECT_EQ(given["input"], (json{28, 28, 3}));
  EXPECT_EQ(given["layers"].back()["output"], (json{1, 12}));

  const Outcome unknown =
      run_tool("inspect", {"--set", "model.name=lenet", "--set", "data.dataset=image_folder", "--set", missing});
  EXPECT_EQ(unknown.code, 0) << unknown.err;
  EXPECT_TRUE(has(unknown.out, "image_folder's files are missing")) << unknown.out;
  // Class folders that are there: three classes, though alexnet_mini's own are ten.
  for (const char* name : {"ant", "bee", "cat"}) {
    fs::create_directories(folder / "pictures" / name);
    write_text(folder / "pictures" / name / "0.ppm", "P6 2 2 255\n" + std::string(12, 'x'));
  }
  const json three = inspected(folder, {"--set", "model.name=alexnet_mini", "--set", "data.dataset=image_folder",
                                        "--set", "data.path=" + (folder / "pictures").string()});
  EXPECT_EQ(three["layers"].back()["output"], (json{1, 3}));
}

TEST(Inspect, WantsANetwork) {
  const Outcome outcome = run_tool("inspect", {"--set", "model.dropout=0.1"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "no network is named")) << outcome.err;
}

}  // namespace
}  // namespace striate::test
