#include "data/mean_image.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "data/datasets/memory_dataset.h"
#include "data/normalization.h"
#include "data/open.h"
#include "data/test_view.h"
#include "data/transforms/crop.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

DataConfig config(const std::string& normalize, const std::string& more = "") {
  return read_data_config(
      ConfigReader::parse("{dataset: synthetic, synthetic: {train_images: 30, test_images: 5}, image_size: 12, "
                          "validation_fraction: 0.2, train_transforms: [{random_crop: 12}], test_transforms: "
                          "[{resize: 16}, {center_crop: 12}], normalize: " +
                          normalize + more + "}"));
}

TEST(MeanImage, IsTheMeanOfTransformedPictures) {
  PictureBlock block{1, 4, 1, {0, 10, 20, 30, 0, 13, 21, 30, 9, 9, 9, 9}, {0, 0, 0}, "three"};
  const MemoryDataset dataset(block, {"a"});
  Pipeline middle;
  middle.add(std::make_shared<CenterCrop>(1, 2));
  const std::vector<int64_t> two = {0, 1};
  for (const int threads : {1, 2, 5}) {
    const MeanImage mean = compute_mean_image(dataset, {two, threads}, middle, {1, 2, 1, {}}, 0);
    EXPECT_EQ(mean.values, (std::vector<float>{static_cast<float>(11.5 / 255), static_cast<float>(20.5 / 255)}));
    EXPECT_NEAR(mean.channel_means().at(0), 16.0 / 255, 1e-8);
  }
  EXPECT_TRUE(test::throws_with<ShapeError>(
      [&] {
        compute_mean_image(dataset, {two}, middle, {1, 4, 1, {}}, 0);
      },
      {"1×2×1"}));
}

TEST(MeanImage, WhatEveryPartSeesIsCentredByTheTrainingPart) {
  const Data data = open_data(config("{mean_image: computed, std: [0.5, 0.25, 1]}"), {.batch_size = 7});
  ASSERT_NE(data.normalization.mean_image, nullptr);
  const MeanImage& mean = *data.normalization.mean_image;
  EXPECT_EQ(mean.height, 12);
  EXPECT_EQ(data.normalization.mean, mean.channel_means());
  // Over the training part as it is tested, every value has mean 0.
  const auto train = data.evaluation_loader("train", 7);
  std::vector<double> sums(12 * 12 * 3, 0.0);
  train->start(0);
  for (Batch batch; train->next(batch);) {
    const std::vector<float> images = batch.images.to_vector<float>();
    for (size_t i = 0; i < images.size(); ++i) sums[i % sums.size()] += static_cast<double>(images[i]);
  }
  for (const double sum : sums) EXPECT_NEAR(sum / 24, 0.0, 1e-6);
  // And a value of the test part is (level/255 − mean)/std.
  data.test->start(0);
  Batch batch;
  ASSERT_TRUE(data.test->next(batch));
  Image image = data.test->set().dataset->load(0);
  TransformScratch scratch;
  data.test_transforms.apply(image, 0, 0, 0, scratch);
  const std::vector<float> seen = batch.images.to_vector<float>();
  for (size_t i = 0; i < mean.values.size(); ++i) {
    const double deviation = i % 3 == 0 ? 0.5 : i % 3 == 1 ? 0.25 : 1.0;
    EXPECT_NEAR(seen[i], (image.pixels[i] / 255.0 - static_cast<double>(mean.values[i])) / deviation, 1e-6);
  }
}

TEST(MeanImage, IsSubtractedFromEachOfTenCrops) {
  const Data data = open_data(config("{mean_image: computed, std: 1}"), {.batch_size = 4});
  const auto crops = data.ten_crop_loader("test", 2), middle = data.evaluation_loader("test", 2);
  crops->start(0);
  middle->start(0);
  Batch ten, one;
  ASSERT_TRUE(crops->next(ten));
  ASSERT_TRUE(middle->next(one));
  const std::vector<float> stacked = ten.images.to_vector<float>(), expected = one.images.to_vector<float>();
  const size_t each = 12 * 12 * 3;
  for (size_t n = 0; n < 2; ++n) {
    for (size_t i = 0; i < each; ++i) EXPECT_EQ(stacked[(n * 10 + 4) * each + i], expected[n * each + i]);
  }
}

TEST(MeanImage, IsReadBackAsItWasWritten) {
  test::TempDir folder;
  const std::string file = (folder / "mean_image.safetensors").string();
  const Data data = open_data(config("{mean_image: computed, std: [0.5, 0.25, 1]}"), {.batch_size = 7});
  save_mean_image(file, *data.normalization.mean_image);
  const DataConfig given = config("{mean_image: '" + file + "', std: [0.5, 0.25, 1]}");
  const Data again = open_data(given, {.batch_size = 7});
  EXPECT_EQ(again.normalization.mean_image->values, data.normalization.mean_image->values);
  EXPECT_EQ(test_view(given, 12, 12, 3).normalization.mean_image->values, data.normalization.mean_image->values);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { test_view(given, 16, 16, 3); }, {"12×12×3", "16×16×3"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { test_view(given, 24, 12, 3); }, {"24×12×3"}));
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] { open_data(config("{mean_image: '" + file + "', std: 1}", ", channels: 1"), {.batch_size = 7}); },
      {"mean image is 12×12×3", "12×12×1"}));
}

TEST(MeanImage, OfGreyPictures) {
  const Data data = open_data(config("{mean_image: computed, std: 0.5}", ", channels: 1"), {.batch_size = 7});
  EXPECT_EQ(data.normalization.mean_image->channels, 1);
  EXPECT_EQ(data.normalization.std, std::vector{0.5});
}

TEST(MeanImage, BadFilesAndKeysAreNamed) {
  test::TempDir folder;
  const std::string file = (folder / "mean.safetensors").string();
  const auto load = [&] { load_mean_image(file); };
  EXPECT_TRUE(test::throws_with<IoError>(load, {file}));
  test::write_text(file, "no safetensors");
  EXPECT_TRUE(test::throws_with<IoError>(load, {file}));
  write_safetensors(file, {{"weights", Tensor::zeros({2})}}, {});
  EXPECT_TRUE(test::throws_with<IoError>(load, {file, "mean_image"}));
  write_safetensors(file, {{"mean_image", Tensor::zeros({2, 2, 2})}}, {});
  EXPECT_TRUE(test::throws_with<IoError>(load, {file, "[2,2,2]"}));
  for (const float value : {1.5f, std::numeric_limits<float>::quiet_NaN()}) {
    write_safetensors(file, {{"mean_image", Tensor::full({2, 2, 1}, value)}}, {});
    EXPECT_TRUE(test::throws_with<IoError>(load, {file, "from 0 to 1"}));
  }
  for (const char* normalize :
       {"{mean_image: computed}", "{mean_image: computed, std: [1, 1]}", "{mean_image: computed, std: 1, mean: 0.5}",
        "{mean_image: computed, std: 0}", "{mean_imag: computed, std: 1}"}) {
    EXPECT_THROW(config(normalize), ConfigError) << normalize;
  }
  EXPECT_TRUE(test::throws_with<ConfigError>([] { test_view(config("{mean_image: computed, std: 1}"), 12, 12, 3); },
                                             {"measured", "mean_image: FILE"}));
}

}  // namespace
}  // namespace striate
