#include "data/open.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

#include "data/datasets/mnist.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::formula_picture;
using test::png;
using test::TempDir;
using test::write_bytes;
using test::write_mnist;
using test::write_text;

DataConfig config(const std::string& yaml) { return read_data_config(ConfigReader::parse("{" + yaml + "}")); }

Data open(const std::string& yaml, const OpenOptions& options = {.batch_size = 8}) {
  return open_data(config(yaml), options);
}

class OpenMnist : public ::testing::Test {
 protected:
  OpenMnist() { write_mnist(dir_.path(), 50, 20); }
  std::string mnist(const std::string& more = "") {
    return "dataset: mnist, path: " + dir_.path().string() + (more.empty() ? "" : ", " + more);
  }
  TempDir dir_;
};

int64_t samples(const std::unique_ptr<Loader>& loader) { return loader ? loader->samples() : 0; }

TEST_F(OpenMnist, WithoutValidationFractionTheTestPartIsVal) {
  const Data data = open(mnist());
  EXPECT_EQ(samples(data.train), 50);
  EXPECT_EQ(samples(data.val), 20);
  EXPECT_EQ(data.test, nullptr);
  EXPECT_EQ(data.height, 28);
  EXPECT_EQ(data.width, 28);
  EXPECT_EQ(data.channels, 1);
  EXPECT_EQ(data.class_names.size(), 10u);
  EXPECT_EQ(data.normalization.mean, std::vector{0.1307});
  EXPECT_EQ(data.evaluation_loader("test", 4)->set().dataset, data.val->set().dataset);
}

TEST_F(OpenMnist, AValidationFractionPartsTheTrainingImages) {
  const Data data = open(mnist("validation_fraction: 0.2, train_transforms: [{random_crop: {size: 28, padding: 4}}]"));
  EXPECT_EQ(samples(data.train), 40);
  EXPECT_EQ(samples(data.val), 10);
  EXPECT_EQ(samples(data.test), 20);
  std::set<int64_t> all(data.train->set().indices.begin(), data.train->set().indices.end());
  all.insert(data.val->set().indices.begin(), data.val->set().indices.end());
  EXPECT_EQ(all.size(), 50u);
  EXPECT_EQ(data.val->set().dataset, data.train->set().dataset);
  EXPECT_EQ(open(mnist("validation_fraction: 0.2")).val->set().indices, data.val->set().indices);
}

/// The first row of a loader's first batch, with the dataset index that it shows.
std::pair<int64_t, std::vector<float>> first_image(Loader& loader) {
  loader.start(0);
  Batch batch;
  EXPECT_TRUE(loader.next(batch));
  auto values = batch.images.to_vector<float>();
  values.resize(values.size() / static_cast<size_t>(batch.images.dim(0)));
  return {loader.order()[0], values};
}

TEST_F(OpenMnist, ValidationIsSeenThroughTheTestTransforms) {
  const Data data = open(mnist("validation_fraction: 0.2, normalize: none, train_transforms: [{horizontal_flip: 1}]"));
  const auto [val_index, val_image] = first_image(*data.val);
  const auto [train_index, train_image] = first_image(*data.train);
  const Image val_picture = data.val->set().dataset->load(val_index);
  const Image train_picture = data.train->set().dataset->load(train_index);
  for (int x = 0; x < 28; ++x) {
    EXPECT_FLOAT_EQ(val_image[x], val_picture.pixels[x] / 255.0f);
    EXPECT_FLOAT_EQ(train_image[x], train_picture.pixels[27 - x] / 255.0f);
  }
  const auto [plain_index, plain_image] = first_image(*data.evaluation_loader("train", 4));
  EXPECT_EQ(plain_index, data.train->set().indices[0]);
  EXPECT_FLOAT_EQ(plain_image[3], data.train->set().dataset->load(plain_index).pixels[3] / 255.0f);
}

TEST_F(OpenMnist, SizesComeFromTheConfigurationTheTransformsOrTheModel) {
  const OpenOptions for_model{.batch_size = 8, .model_height = 64, .model_width = 64};
  EXPECT_EQ(open(mnist(), for_model).height, 64);
  EXPECT_EQ(open(mnist("image_size: 32"), for_model).height, 32);
  const Data wide = open(mnist("image_size: [30, 40]"), for_model);
  EXPECT_EQ(wide.height, 30);
  EXPECT_EQ(wide.width, 40);
  EXPECT_EQ(first_image(*wide.train).second.size(), 1200u);
  const Data padded = open(mnist("train_transforms: [{random_crop: {size: 32, padding: 2}}]"), for_model);
  EXPECT_EQ(padded.height, 32);
  EXPECT_EQ(first_image(*padded.val).second.size(), 1024u);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open(mnist("image_size: 30, train_transforms: [{resize: 32}]")); },
                                             {"train_transforms", "32×32", "30×30"}));
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] { open(mnist("train_transforms: [{resize: 32}], test_transforms: [{resize: 33}]")); },
      {"test_transforms", "33×33", "32×32"}));
}

TEST_F(OpenMnist, CropsLargerThanTheImageNameIt) {
  EXPECT_TRUE(test::throws_with<ShapeError>([&] { open(mnist("train_transforms: [{random_crop: 32}]")); },
                                            {"train-images-idx3-ubyte, image 0", "random_crop", "28×28", "32×32"}));
}

TEST_F(OpenMnist, GreyBecomesColour) {
  const Data data = open(mnist("channels: 3, normalize: imagenet"));
  EXPECT_EQ(data.channels, 3);
  const auto [index, image] = first_image(*data.val);
  const float level = data.val->set().dataset->load(index).pixels[5] / 255.0f;
  EXPECT_NEAR(image[15], (level - 0.485f) / 0.229f, 1e-5);
  EXPECT_NEAR(image[16], (level - 0.456f) / 0.224f, 1e-5);
  EXPECT_NEAR(image[17], (level - 0.406f) / 0.225f, 1e-5);
}

TEST_F(OpenMnist, GivenAndComputedNormalization) {
  EXPECT_EQ(open(mnist("normalize: {mean: 0.25, std: [0.5]}")).normalization.mean, std::vector{0.25});
  EXPECT_EQ(open(mnist("channels: 3, normalize: {mean: [0.1, 0.2, 0.3], std: [1, 1, 1]}")).normalization.mean[2], 0.3);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open(mnist("normalize: {mean: [0.1, 0.2], std: [1, 1]}")); },
                                             {"1 or 3 numbers"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open(mnist("normalize: {mean: 0.1, std: 0}")); }, {"above 0"}));
  const Data data = open(mnist("normalize: computed"));
  // Pixel i of all is (7i + 3) mod 256: every level equally often.
  EXPECT_NEAR(data.normalization.mean[0], 0.5, 0.001);
  EXPECT_NEAR(data.normalization.std[0], 0.2898, 0.001);
}

TEST_F(OpenMnist, ClassNamesFromAFile) {
  write_text(dir_ / "names.txt", "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n");
  const std::string key = "class_names: " + (dir_ / "names.txt").string();
  EXPECT_EQ(open(mnist(key)).class_names[3], "three");
  write_text(dir_ / "names.txt", "zero\none\n");
  EXPECT_TRUE(test::throws_with<IoError>([&] { open(mnist(key)); }, {"names.txt", "expected 10", "found 2"}));
}

TEST_F(OpenMnist, SizesAreWhatOpeningGives) {
  const OpenOptions mini = {.batch_size = 8, .model_height = 32, .model_width = 32};
  for (const std::string& more :
       {std::string(), std::string("channels: 3"), std::string("image_size: [20, 24]"),
        std::string("train_transforms: [{pad: 3}], test_transforms: [{pad: 3}]"), std::string("normalize: computed")}) {
    const Data data = open(mnist(more), mini);
    // The same without the files: MNIST's pictures are known.
    for (const std::string& yaml : {mnist(more), "dataset: mnist, path: /nowhere" + (more.empty() ? "" : ", " + more),
                                    "dataset: mnist" + (more.empty() ? "" : ", " + more)}) {
      const auto sizes = data_sizes(config(yaml), mini);
      ASSERT_TRUE(sizes) << yaml;
      EXPECT_EQ(sizes->height, data.height) << yaml;
      EXPECT_EQ(sizes->width, data.width) << yaml;
      EXPECT_EQ(sizes->channels, data.channels) << yaml;
      EXPECT_EQ(sizes->classes, 10) << yaml;
    }
  }
  EXPECT_EQ(data_sizes(config("dataset: cifar100, path: /nowhere"), {})->classes, 100);
  EXPECT_EQ(data_sizes(config("dataset: cifar10, path: /nowhere"), {})->channels, 3);
  EXPECT_FALSE(data_sizes(config("dataset: image_folder, path: /nowhere"), {}));
}

TEST(Open, SyntheticNeedsNothing) {
  const Data data = open("dataset: synthetic, synthetic: {train_images: 40, test_images: 20}",
                         {.batch_size = 8, .model_height = 24, .model_width = 24});
  EXPECT_EQ(data.height, 24);
  EXPECT_EQ(data.channels, 3);
  EXPECT_EQ(samples(data.train), 40);
  EXPECT_EQ(first_image(*data.val).second.size(), 24u * 24 * 3);
  EXPECT_EQ(open("dataset: synthetic, image_size: 28, channels: 1").channels, 1);
}

TEST(Open, ClassFoldersWithoutATestPart) {
  TempDir dir;
  for (const char* name : {"a/1.png", "a/2.png", "b/1.png", "b/2.png"}) {
    write_bytes(dir / name, png(formula_picture(20, 30, 3)));
  }
  const std::string folder = "dataset: image_folder, path: " + dir.path().string();
  const Data data = open(folder + ", image_size: 16");
  EXPECT_EQ(samples(data.train), 4);
  EXPECT_EQ(data.val, nullptr);
  EXPECT_EQ(first_image(*data.train).second.size(), 16u * 16 * 3);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { data.evaluation_loader("val", 4); },
                                             {"no val part; it has train (", "validation_fraction"}));
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] { open(folder + ", validation_fraction: 0.25").evaluation_loader("unlabelled", 4); },
      {"no unlabelled part; it has train, val"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { data.evaluation_loader("vall", 4); }, {"vall"}));
  EXPECT_EQ(samples(open(folder + ", validation_fraction: 0.25").val), 1);
  const Data grey = open(folder + ", image_size: 16, channels: 1");
  EXPECT_EQ(first_image(*grey.train).second.size(), 256u);
  write_bytes(dir / "b/2.png", {1, 2, 3, 4, 5});
  EXPECT_TRUE(test::throws_with<IoError>([&] { open(folder + ", image_size: 16, normalize: computed"); },
                                         {"2.png", "data.skip_broken"}));
  const Data skipping = open(folder + ", image_size: 16, skip_broken: true, shuffle: false");
  skipping.train->start(0);
  Batch batch;
  ASSERT_TRUE(skipping.train->next(batch));
  EXPECT_EQ(batch.images.dim(0), 3);
  EXPECT_EQ(skipping.train->broken(), 1);
}

TEST(DataConfig, UnknownKeysAndDatasetsNameTheNearest) {
  EXPECT_TRUE(test::throws_with<ConfigError>([] { config("path: /x"); }, {"dataset", "must be given"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { config("dataset: fashion_mnits"); }, {"fashion_mnits", "'fashion_mnist'"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { config("dataset: lmdb"); },
                                             {"hdf5", "cifar10", "image_folder", "synthetic"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { config("dataset: mnist, worker: 3"); }, {"worker", "'workers'"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { config("dataset: mnist, workers: many"); }, {"workers", "many"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { config("dataset: mnist, workers: -1"); }, {"workers", "-1"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { config("dataset: mnist, channels: 2"); }, {"channels", "found 2"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { config("dataset: mnist, image_size: 0"); }, {"image_size", "found 0"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { config("dataset: mnist, validation_fraction: 1.5"); },
                                             {"validation_fraction", "1.5"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { config("dataset: mnist, normalize: imagnet"); }, {"imagnet", "'imagenet'"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { config("dataset: mnist, synthetic: {train_images: 3}"); }, {"synthetic"}));
}

TEST(Open, FashionMnistNeedsNoPath) {
  if (!std::filesystem::is_directory(kFashionMnistFolder)) GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const Data data = open("dataset: fashion_mnist, normalize: computed");
  EXPECT_NEAR(data.normalization.mean[0], 0.2860, 5e-5);
  EXPECT_NEAR(data.normalization.std[0], 0.3530, 5e-5);
  EXPECT_EQ(samples(data.train), 60000);
  EXPECT_EQ(samples(data.val), 10000);
}

}  // namespace
}  // namespace striate
