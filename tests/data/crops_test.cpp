#include "data/datasets/crops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "data/open.h"
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
using test::write_text;

/// Every pixel tells where it is: (x, y, mark).
Image placed_picture(int height, int width, uint8_t mark) {
  Image image;
  image.reshape(height, width, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.row(y) + 3 * x;
      pixel[0] = static_cast<uint8_t>(x);
      pixel[1] = static_cast<uint8_t>(y);
      pixel[2] = mark;
    }
  }
  return image;
}

CropsOptions exact(int size) {
  CropsOptions options;
  options.height = options.width = size;
  options.scale_max = 1;
  options.train_crops = 200;
  options.test_crops = 100;
  return options;
}

/// Two photographs of 100×60 (portrait) and 60×100 (landscape) pixels.
class Crops : public ::testing::Test {
 protected:
  Crops() {
    write_bytes(dir_ / "wide.png", png(placed_picture(60, 100, 1)));
    write_bytes(dir_ / "deep/er/tall.PNG", png(placed_picture(100, 60, 0)));
    write_text(dir_ / "notes.txt", "not a picture");
  }
  TempDir dir_;
};

TEST_F(Crops, TheClassIsThePhotograph) {
  const auto parts = open_crops(dir_.path(), exact(16));
  EXPECT_EQ(parts.train->class_names(), (std::vector<std::string>{"tall", "wide"}));
  EXPECT_EQ(parts.test->class_names(), parts.train->class_names());
  EXPECT_EQ(parts.train->size(), 200);
  EXPECT_EQ(parts.test->size(), 100);
  EXPECT_EQ(parts.train->channels(), 3);
  for (int64_t i = 0; i < 200; ++i) {
    const Image crop = parts.train->load(i);
    ASSERT_EQ(crop.height, 16);
    ASSERT_EQ(crop.width, 16);
    ASSERT_EQ(parts.train->label(i), i % 2);
    // At scale 1 a crop is the photograph's own pixels.
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 16; ++x) {
        const uint8_t* pixel = crop.row(y) + 3 * x;
        ASSERT_EQ(pixel[0], crop.pixels[0] + x);
        ASSERT_EQ(pixel[1], crop.pixels[1] + y);
        ASSERT_EQ(pixel[2], i % 2);
      }
    }
  }
  EXPECT_EQ(parts.train->describe(3), (dir_ / "wide.png").string() + ", training crop 3");
  EXPECT_EQ(parts.test->describe(2), (dir_ / "deep/er/tall.PNG").string() + ", test crop 2");
}

/// The smallest and largest place along each axis that a photograph's crops show; (x, y).
struct Seen {
  int least[2] = {255, 255}, most[2] = {0, 0};
};

void look(const Dataset& dataset, int label, int64_t epoch, Seen& seen) {
  Image crop;
  for (int64_t i = label; i < dataset.size(); i += dataset.classes()) {
    dataset.load_in_epoch(i, epoch, crop);
    for (size_t p = 0; p < crop.pixels.size(); p += 3) {
      for (int axis = 0; axis < 2; ++axis) {
        seen.least[axis] = std::min<int>(seen.least[axis], crop.pixels[p + axis]);
        seen.most[axis] = std::max<int>(seen.most[axis], crop.pixels[p + axis]);
      }
    }
  }
}

TEST_F(Crops, TrainingNeverSeesTheHeldOutStrip) {
  for (const double scale : {1.0, 4.0}) {
    CropsOptions options = exact(16);
    options.scale_max = scale;
    const auto parts = open_crops(dir_.path(), options);
    for (const int label : {0, 1}) {
      const int along = label == 1 ? 0 : 1, across = 1 - along;
      Seen train, test;
      for (int64_t epoch = 0; epoch < 10; ++epoch) look(*parts.train, label, epoch, train);
      look(*parts.test, label, 0, test);
      // A fifth of 100 pixels is held out, at the right of the wide picture and at the lower end of the tall one.
      EXPECT_EQ(train.least[along], 0);
      EXPECT_EQ(train.most[along], 79) << "all of its part is used, and no more";
      EXPECT_EQ(train.least[across], 0);
      EXPECT_EQ(train.most[across], 59);
      EXPECT_EQ(test.least[along], 80);
      EXPECT_EQ(test.most[along], 99);
      EXPECT_LE(test.least[across], 2);
      EXPECT_GE(test.most[across], 57);
    }
  }
}

TEST_F(Crops, HangOnSeedEpochAndIndexAlone) {
  CropsOptions options = exact(16);
  options.scale_max = 2;
  const auto parts = open_crops(dir_.path(), options);
  options.threads = 3;
  const auto again = open_crops(dir_.path(), options);
  options.seed = 1;
  const auto other = open_crops(dir_.path(), options);
  const auto pixels = [](const Dataset& dataset, int64_t index, int64_t epoch) {
    Image image;
    dataset.load_in_epoch(index, epoch, image);
    return image.pixels;
  };
  std::set<std::vector<uint8_t>> distinct;
  for (int64_t i = 0; i < 8; ++i) {
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      EXPECT_EQ(pixels(*parts.train, i, epoch), pixels(*again.train, i, epoch));
      EXPECT_EQ(pixels(*parts.test, i, epoch), parts.test->load(i).pixels) << "test crops stay the same";
      EXPECT_NE(pixels(*parts.train, i, epoch), pixels(*other.train, i, epoch));
      distinct.insert(pixels(*parts.train, i, epoch));
    }
    EXPECT_EQ(pixels(*parts.train, i, 0), parts.train->load(i).pixels);
    EXPECT_NE(parts.test->load(i).pixels, other.test->load(i).pixels);
  }
  EXPECT_EQ(distinct.size(), 24u);
}

TEST_F(Crops, ScaleIsTheWindowsSizeInCrops) {
  CropsOptions options = exact(16);
  options.scale_min = options.scale_max = 2;
  const auto parts = open_crops(dir_.path(), options);
  const Image crop = parts.train->load(1);
  // 32 pixels shrunk to 16: neighbours are two apart.
  EXPECT_NEAR(crop.row(8)[3 * 9] - crop.row(8)[3 * 8], 2, 1);
  EXPECT_NEAR(crop.row(0)[3 * 15] - crop.row(0)[0], 30, 2);
  EXPECT_NEAR(crop.row(15)[1] - crop.row(0)[1], 30, 2);
  // The held-out strip is 20 pixels wide: the window is cut down to what fits.
  const Image held_out = parts.test->load(1);
  EXPECT_NEAR(held_out.row(0)[3 * 15] - held_out.row(0)[0], 19, 2);
}

TEST_F(Crops, GreyPhotographsBecomeColour) {
  TempDir dir;
  write_bytes(dir / "grey.png", png(formula_picture(40, 50, 1)));
  const Image crop = open_crops(dir.path(), exact(8)).train->load(0);
  ASSERT_EQ(crop.channels, 3);
  for (size_t p = 0; p < crop.pixels.size(); p += 3) {
    ASSERT_EQ(crop.pixels[p], crop.pixels[p + 1]);
    ASSERT_EQ(crop.pixels[p], crop.pixels[p + 2]);
  }
}

TEST_F(Crops, LargePhotographsAreShrunkOnce) {
  CropsOptions options = exact(16);
  options.largest_side = 50;  // half of 100
  const auto parts = open_crops(dir_.path(), options);
  const Image crop = parts.train->load(1);
  EXPECT_NEAR(crop.row(3)[3 * 15] - crop.row(3)[0], 30, 2) << "neighbours are two of the file's pixels apart";
  Seen test;
  look(*parts.test, 1, 0, test);
  EXPECT_GE(test.least[0], 100 - 2 * 16 - 1) << "the strip is a crop wide, more than a fifth";
}

TEST_F(Crops, LinksCountOnceAndEqualNamesAreToldApart) {
  std::filesystem::create_symlink(dir_ / "wide.png", dir_ / "again.png");
  std::filesystem::create_directory_symlink(dir_ / "deep", dir_ / "other");
  write_bytes(dir_ / "more/wide.png", png(placed_picture(60, 100, 2)));
  const auto parts = open_crops(dir_.path(), exact(16));
  EXPECT_EQ(parts.train->class_names(), (std::vector<std::string>{"again", "tall", "wide"}));
  write_bytes(dir_ / "most/wide.jpg", test::jpeg(placed_picture(60, 100, 2)));
  EXPECT_EQ(open_crops(dir_.path(), exact(16)).train->class_names(),
            (std::vector<std::string>{"again", "tall", "more/wide.png", "most/wide.jpg"}));
}

TEST_F(Crops, NothingHeldOutMeansNoTestPart) {
  CropsOptions options = exact(60);
  EXPECT_THROW(open_crops(dir_.path(), options), IoError);
  options.held_out = 0;
  EXPECT_EQ(open_crops(dir_.path(), options).test, nullptr);
  Seen train;
  look(*open_crops(dir_.path(), options).train, 1, 0, train);
  EXPECT_EQ(train.most[0], 99);
}

TEST_F(Crops, BadInputIsRefused) {
  TempDir empty;
  write_text(empty / "notes.txt", "not a picture");
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_crops("", {}); }, {"data.path"}));
  EXPECT_TRUE(
      test::throws_with<IoError>([&] { open_crops(empty / "none", {}); }, {"none", "no such folder", "data.path"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_crops(empty.path(), {}); }, {empty.path().string(), "no picture"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_crops(dir_.path(), exact(51)); },
                                         {"tall.PNG", "100×60", "51×51", "held-out", "data.image_size"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_crops(dir_.path(), exact(64)); }, {"tall.PNG", "64×64"}));
  const auto refused = [&](CropsOptions options, std::initializer_list<std::string> parts) {
    EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_crops(dir_.path(), options); }, parts));
  };
  CropsOptions options = exact(16);
  options.scale_min = 0.5;
  refused(options, {"scale", "[0.5, 1]"});
  options = exact(16);
  options.held_out = 0.6;
  refused(options, {"held_out", "0.6"});
  options = exact(16);
  options.largest_side = 15;
  refused(options, {"largest_side", "15"});
  options.largest_side = 32768;
  refused(options, {"2 photographs", "largest_side", "MiB"});
  options = exact(16);
  options.train_crops = 0;
  refused(options, {"at least one"});
}

TEST_F(Crops, BrokenAndSmallPhotographsAreLeftOutOnDemand) {
  write_text(dir_ / "broken.jpg", "hello");
  write_bytes(dir_ / "small.png", png(formula_picture(15, 40, 3)));
  CropsOptions options = exact(16);
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_crops(dir_.path(), options); }, {"broken.jpg", "not a picture"}));
  std::vector<std::string> told;
  options.skip_broken = true;
  options.on_broken = [&](const std::string& message) { told.push_back(message); };
  EXPECT_EQ(open_crops(dir_.path(), options).train->class_names(), (std::vector<std::string>{"tall", "wide"}));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_NE(told[0].find("broken.jpg"), std::string::npos);
  EXPECT_NE(told[1].find("small.png: 15×40"), std::string::npos) << told[1];
  TempDir only;
  write_text(only / "broken.jpg", "hello");
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_crops(only.path(), options); }, {"none of its 1", "broken.jpg"}));
}

Data open(const std::string& yaml, const OpenOptions& options = {.seed = 7, .batch_size = 16}) {
  return open_data(read_data_config(ConfigReader::parse("{" + yaml + "}")), options);
}

TEST_F(Crops, OpensFromAConfiguration) {
  const std::string folder = "dataset: crops, path: " + dir_.path().string();
  const Data data = open(folder + ", image_size: [20, 16], crops: {train_crops: 50, test_crops: 30, scale: [1, 2]}");
  EXPECT_EQ(data.height, 20);
  EXPECT_EQ(data.width, 16);
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"tall", "wide"}));
  EXPECT_EQ(data.train->samples(), 50);
  EXPECT_EQ(data.val->samples(), 30);
  EXPECT_EQ(data.test, nullptr);
  EXPECT_EQ(open(folder, {.batch_size = 16, .model_height = 24, .model_width = 24}).height, 24);
  EXPECT_EQ(open(folder + ", image_size: 16, channels: 1, crops: {held_out: 0}").channels, 1);
  const auto refused = [&](const std::string& more, std::initializer_list<std::string> parts) {
    EXPECT_TRUE(test::throws_with<ConfigError>([&] { open(folder + ", " + more); }, parts));
  };
  refused("validation_fraction: 0.1", {"validation_fraction", "held_out"});
  refused("crops: {scale: 2}", {"crops.scale", "[low, high]"});
  refused("crops: {scale: [0.5, 2]}", {"crops.scale"});
  refused("crops: {held_out: 0.7}", {"crops.held_out", "0.7"});
  refused("crops: {train_crop: 3}", {"train_crop", "'train_crops'"});
  refused("crops: {largest_side: 4}", {"crops.largest_side", "4"});
}

std::vector<float> epoch_pixels(const Data& data, int64_t epoch) {
  std::vector<float> all;
  data.train->start(epoch);
  Batch batch;
  while (data.train->next(batch)) {
    const auto values = batch.images.to_vector<float>();
    all.insert(all.end(), values.begin(), values.end());
    for (const int32_t label : batch.labels.to_vector<int32_t>()) all.push_back(static_cast<float>(label));
  }
  return all;
}

TEST_F(Crops, AnyNumberOfWorkersGivesTheSameEpoch) {
  const std::string yaml = "dataset: crops, path: " + dir_.path().string() +
                           ", image_size: 16, train_transforms: [horizontal_flip], crops: {train_crops: 40}, workers: ";
  const Data alone = open(yaml + "0"), several = open(yaml + "3");
  const auto first = epoch_pixels(alone, 1);
  EXPECT_EQ(first.size(), 40u * (16 * 16 * 3 + 1));
  EXPECT_EQ(epoch_pixels(several, 1), first);
  EXPECT_NE(epoch_pixels(several, 2), first);
  EXPECT_EQ(epoch_pixels(several, 1), first) << "whatever was read before";
}

}  // namespace
}  // namespace striate
