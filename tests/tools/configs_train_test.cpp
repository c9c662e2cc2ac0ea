#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"
#include "tools/run_config.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

std::string big_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

/// The four files of Fashion-MNIST with a few images of noise, ten classes taking turns.
void write_small_fashion_mnist(const fs::path& folder) {
  fs::create_directories(folder);
  for (const auto& [part, count] : {std::pair{"train", 40u}, std::pair{"t10k", 10u}}) {
    std::string images = big_endian(0x803) + big_endian(count) + big_endian(28) + big_endian(28);
    std::string labels = big_endian(0x801) + big_endian(count);
    for (uint32_t i = 0; i < count; ++i) {
      labels += static_cast<char>(i % 10);
      for (uint32_t p = 0; p < 28 * 28; ++p) images += static_cast<char>((p * (i + 3) * 2654435761u) >> 24);
    }
    write_text(folder / (std::string(part) + "-images-idx3-ubyte"), images);
    write_text(folder / (std::string(part) + "-labels-idx1-ubyte"), labels);
  }
}

/// The shipped configurations of labelled images: all but the base and that of photographs.
std::vector<std::string> experiments() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(STRIATE_CONFIGS_DIR)) {
    const std::string name = entry.path().stem().string();
    if (name == "e2_base") continue;  // names no model: it is inherited from
    if (RunConfig::load(entry.path().string(), {}).data.dataset != "crops") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

class ConfigAtSmallScale : public testing::TestWithParam<std::string> {};

TEST_P(ConfigAtSmallScale, TrainsAndIsEvaluatedWithoutADownload) {
  TempDir folder;
  write_small_fashion_mnist(folder / "data");
  const std::string config = std::string(STRIATE_CONFIGS_DIR) + "/" + GetParam() + ".yaml";
  const std::string run = (folder / "run").string();
  std::vector<std::string> flags = {"--config", config, "--output", run};
  std::vector<std::string> sets = {"threads=1",
                                   "model.width=0.1",
                                   "data.dataset=fashion_mnist",
                                   "data.path=" + (folder / "data").string(),
                                   "data.workers=1",
                                   "train.batch_size=4",
                                   "train.accumulate=1",
                                   "train.max_steps=2",
                                   "analysis={kernels: false, tuning: false}"};
  const std::string dataset = RunConfig::load(config, {}).data.dataset;
  if (dataset == "synthetic" || dataset == "hdf5") {  // the latter's pictures are larger than Fashion-MNIST's
    sets[2] = "data.dataset=synthetic";
    sets[3] = "data.synthetic={train_images: 40, test_images: 10}";
  }
  if (GetParam() == "paper_alexnet") sets.emplace_back("data.channels=3");  // PCA colour is for colour
  for (const std::string& set : sets) flags.insert(flags.end(), {"--set", set});
  const Outcome trained = run_tool("train", flags);
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  EXPECT_EQ(trained.err, "");
  EXPECT_EQ(read_lines(fs::path(run) / "steps.csv").size(), 3u);
  const Outcome evaluated = run_tool("evaluate", {"--run", run});
  EXPECT_EQ(evaluated.code, 0) << evaluated.err;
}

INSTANTIATE_TEST_SUITE_P(Shipped, ConfigAtSmallScale, testing::ValuesIn(experiments()),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace striate::test
