#include "tests/tools/tiny_run.h"

#include <gtest/gtest.h>

#include "tests/tools/tool.h"

namespace striate::test {

std::vector<std::string> tiny_flags(const std::vector<std::string>& more) {
  std::vector<std::string> flags = {"--config", std::string(STRIATE_CONFIGS_DIR) + "/synthetic.yaml"};
  for (const char* set : {"seed=5", "threads=1", "model.name=alexnet_mini", "model.width=0.5",
                          "data.validation_fraction=0.2", "data.synthetic={train_images: 200, test_images: 50}",
                          "data.train_transforms=[{random_crop: {size: 32, padding: 4}}, horizontal_flip]",
                          "train.epochs=3", "train.batch_size=16", "train.learning_rate=0.002"}) {
    flags.insert(flags.end(), {"--set", set});
  }
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

void train_tiny(const std::filesystem::path& output, const std::vector<std::string>& more) {
  std::vector<std::string> flags = tiny_flags(more);
  flags.insert(flags.end(), {"--output", output.string()});
  const Outcome outcome = run_tool("train", flags);
  ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  ASSERT_EQ(outcome.err, "");
}

std::vector<std::string> metrics_without_times(const std::filesystem::path& run) {
  std::vector<std::string> lines = read_lines(run / "metrics.csv");
  for (std::string& line : lines) {
    for (int column = 0; column < 2; ++column) line.erase(line.rfind(','));
  }
  return lines;
}

}  // namespace striate::test
