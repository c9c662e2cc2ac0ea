#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/train/safetensors.h"
#include "tests/support/backend.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

using Flags = std::vector<std::string>;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Outcome loader(const Flags& more) {
  Flags flags = {"--set", "data.dataset=synthetic",
                 "--set", "data.image_size=[24, 20]",
                 "--set", "data.synthetic={train_images: 50, test_images: 10}",
                 "--set", "train.batch_size=16"};
  flags.insert(flags.end(), more.begin(), more.end());
  return run_tool("../benchmarks/loader", flags);
}

TEST(LoaderBenchmark, WritesItsFiguresAndTheFirstBatch) {
  TempDir folder;
  const std::string json = (folder / "l.json").string(), batch = (folder / "b.safetensors").string();
  const Outcome outcome = loader({"--batches", "9", "--workers", "1", "--json", json, "--first-batch", batch});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(has(outcome.out, "50 images of 24x20x3 in batches of 16, 1 worker\n")) << outcome.out;
  const nlohmann::json document = nlohmann::json::parse(read_text(json));
  // Epochs of 16 + 16 + 16 + 2 images; the first is for warming up.
  EXPECT_EQ(document.at("images"), 2 * 50 + 16);
  EXPECT_GT(document.at("images_per_second").get<double>(), 1.0);
  EXPECT_GE(document.at("core_ms_per_image").get<double>(), 0.0);
  EXPECT_EQ(document.at("image"), nlohmann::json({24, 20, 3}));
  EXPECT_EQ(document.at("workers"), 1);
  EXPECT_FALSE(document.at("provenance").at("commit").get<std::string>().empty());
  const Safetensors found = read_safetensors(batch);
  ASSERT_NE(found.find("images"), nullptr);
  EXPECT_EQ(found.find("images")->shape(), (Shape{16, 24, 20, 3}));
  ASSERT_NE(found.find("labels"), nullptr);
}

TEST(LoaderBenchmark, AGpuGetsTheSameBits) {
  skip_unless_runnable(Backend::cuda);
  if (testing::Test::IsSkipped()) return;
  TempDir folder;
  const auto first_batch = [&](const std::string& device) {
    const std::string file = (folder / (device + ".safetensors")).string();
    const Outcome outcome =
        loader({"--device", device, "--batches", "1", "--first-batch", file, "--set",
                "data.train_transforms=[{random_crop: {size: [24, 20], padding: 3}}, horizontal_flip, {color_jitter: "
                "{brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1}}, pca_color, random_erasing]",
                "--set", "data.cutmix=1.0"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_text(file);
  };
  EXPECT_EQ(first_batch("cuda"), first_batch("cpu"));
}

TEST(LoaderBenchmark, ReadsOtherPartsAndLoadsByItself) {
  const Outcome outcome = loader({"--split", "test", "--workers", "0"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "test: 10 images of 24x20x3 in batches of 16, 0 workers")) << outcome.out;
}

TEST(LoaderBenchmark, SaysWhatIsWrong) {
  for (const auto& [flags, message] : std::vector<std::pair<Flags, std::string>>{
           {{"--batches", "0"}, "--batches 0: expected 1 to 1000000"},
           {{"--workers", "-2"}, "--workers -2: expected 0 to 1024"},
           {{"--split", "some"}, "split: expected train, val, test or unlabelled, found 'some'"},
           {{"--set", "data.datset=mnist"}, "dataset"},
           {{"--batch", "3"}, "--batches"}}) {
    const Outcome outcome = loader(flags);
    EXPECT_EQ(outcome.code, 2) << flags[0];
    EXPECT_TRUE(has(outcome.err, message)) << outcome.err;
  }
  const Outcome outcome = run_tool("../benchmarks/loader", {});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "no dataset is named: --config F")) << outcome.err;
}

}  // namespace
}  // namespace striate::test
