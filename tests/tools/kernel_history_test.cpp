#include "tools/experiments/kernel_history.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

class KernelHistoryTest : public testing::Test {
 protected:
  /// One 1x2 grey kernel of weights `left` and 1, as epoch E left it.
  void write_kernels(int epoch, float left) {
    write_safetensors(folder_ / ("conv1_kernels_epoch_" + std::to_string(epoch) + ".safetensors"),
                      {{"kernels", Tensor::from<float>({left, 1.0f}, {1, 1, 2, 1})}}, {{"layer", "features.0"}});
  }
  /// Two kernels, two orientations, one frequency, two phases, one colour.
  void write_responses(int epoch, const std::vector<float>& responses) {
    const std::filesystem::path folder = folder_ / ("kernel_responses_0" + std::to_string(epoch));
    std::filesystem::create_directory(folder);
    write_safetensors((folder / "responses.safetensors").string(),
                      {{"responses", Tensor::from<float>(responses, {2, 2, 1, 2, 1})},
                       {"orientation_deg", Tensor::from<float>({0.0f, 90.0f}, {2})},
                       {"spatial_frequency_cycles_per_image", Tensor::from<float>({5.5f}, {1})}},
                      {});
    write_text(folder / "tuning.csv", "kernel,responsive,circular_variance\n0,1,0.25\n1,0,\n");
  }
  TempDir folder_;
};

TEST_F(KernelHistoryTest, AFolderWithoutAnalysisHasNone) {
  EXPECT_FALSE(read_kernel_history(folder_.path(), 10));
  EXPECT_FALSE(read_tuning_history(folder_.path(), 10));
}

TEST_F(KernelHistoryTest, EpochsComeInTheirOrderAndNotInThatOfTheirNames) {
  for (const int epoch : {10, 2, 0}) write_kernels(epoch, static_cast<float>(epoch));
  const auto history = read_kernel_history(folder_.path(), 10);
  ASSERT_TRUE(history);
  EXPECT_EQ(history->epochs, (std::vector<int64_t>{0, 2, 10}));
  EXPECT_EQ(history->layer, "features.0");
  EXPECT_EQ(history->count, 1);
  EXPECT_EQ(history->height, 1);
  EXPECT_EQ(history->width, 2);
  EXPECT_EQ(history->channels, 1);
  // 128 + 127 w / max|w|: (0, 1), (2, 1), (10, 1).
  EXPECT_EQ(history->pixels, (std::vector<uint8_t>{128, 255, 255, 192, 255, 141}));
}

TEST_F(KernelHistoryTest, OfManyEpochsAnEvenChoiceWithTheEnds) {
  for (int epoch = 0; epoch <= 20; ++epoch) write_kernels(epoch, 1.0f);
  EXPECT_EQ(read_kernel_history(folder_.path(), 5)->epochs, (std::vector<int64_t>{0, 5, 10, 15, 20}));
  EXPECT_EQ(read_kernel_history(folder_.path(), 21)->epochs.size(), 21u);
}

TEST_F(KernelHistoryTest, KernelsOfAnotherSizeAreNamed) {
  write_kernels(0, 1.0f);
  write_safetensors(folder_ / "conv1_kernels_epoch_1.safetensors",
                    {{"kernels", Tensor::from<float>({1, 2, 3, 4}, {1, 2, 2, 1})}}, {});
  EXPECT_TRUE(
      throws_with<IoError>([&] { read_kernel_history(folder_.path(), 10); }, {"conv1_kernels_epoch_1", "2x2", "1x2"}));
}

TEST_F(KernelHistoryTest, AFileOfSomethingElseIsNamed) {
  write_safetensors(folder_ / "conv1_kernels_epoch_0.safetensors", {{"weights", Tensor::from<float>({1}, {1})}}, {});
  EXPECT_TRUE(
      throws_with<IoError>([&] { read_kernel_history(folder_.path(), 10); }, {"conv1_kernels_epoch_0", "'kernels'"}));
}

TEST_F(KernelHistoryTest, AResponseIsTheMeanOverPhasesOfTheRectifiedOne) {
  write_responses(0, {4.0f, -2.0f, 1.0f, 0.0f, -1.0f, -1.0f, 0.0f, -3.0f});
  const auto history = read_tuning_history(folder_.path(), 10);
  ASSERT_TRUE(history);
  EXPECT_EQ(history->kernels(), 2);
  EXPECT_EQ(history->orientations, (std::vector<double>{0.0, 90.0}));
  EXPECT_EQ(history->peaks, (std::vector<float>{2.0f, 0.0f}));
  EXPECT_EQ(history->curves, (std::vector<uint8_t>{255, 64, 0, 0}));
  EXPECT_EQ(history->columns, (std::vector<std::string>{"kernel", "responsive", "circular_variance"}));
  EXPECT_EQ(history->table[2], 0.25);
  EXPECT_FALSE(history->table[5]) << "an empty cell";
}

TEST_F(KernelHistoryTest, AFolderThatWasCutOffIsPassedOver) {
  write_responses(0, std::vector<float>(8, 1.0f));
  std::filesystem::create_directory(folder_ / "kernel_responses_01");
  EXPECT_EQ(read_tuning_history(folder_.path(), 10)->epochs, (std::vector<int64_t>{0}));
}

TEST_F(KernelHistoryTest, ResponsesThatDoNotFitTheTableAreNamed) {
  write_responses(0, std::vector<float>(8, 1.0f));
  write_text(folder_ / "kernel_responses_00/tuning.csv", "kernel,responsive,circular_variance\n0,1,0.25\n");
  EXPECT_TRUE(throws_with<IoError>([&] { read_tuning_history(folder_.path(), 10); },
                                   {"responses.safetensors", "tuning.csv", "1 kernels"}));
}

TEST_F(KernelHistoryTest, AnotherGridThanTheEpochsBeforeIsNamed) {
  write_responses(0, std::vector<float>(8, 1.0f));
  std::filesystem::copy(folder_ / "kernel_responses_00", folder_ / "kernel_responses_01");
  write_safetensors((folder_ / "kernel_responses_01/responses.safetensors").string(),
                    {{"responses", Tensor::from<float>(std::vector<float>(8, 1.0f), {2, 2, 1, 2, 1})},
                     {"orientation_deg", Tensor::from<float>({0.0f, 45.0f}, {2})},
                     {"spatial_frequency_cycles_per_image", Tensor::from<float>({5.5f}, {1})}},
                    {});
  EXPECT_TRUE(throws_with<IoError>([&] { read_tuning_history(folder_.path(), 10); }, {"kernel_responses_01"}));
}

}  // namespace
}  // namespace striate::test
