#include "data/transforms/framing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "data/datasets/encoded_pictures.h"
#include "data/datasets/memory_dataset.h"
#include "data/load_transformed.h"
#include "data/transforms/channels.h"
#include "data/transforms/color.h"
#include "data/transforms/crop.h"
#include "data/transforms/geometry.h"
#include "data/transforms/resize.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"

namespace striate {
namespace {

using test::Bytes;
using test::formula_picture;

constexpr uint64_t kSeed = 7;
constexpr int64_t kEpoch = 3;

class Encoded final : public EncodedPictures {
 public:
  explicit Encoded(std::vector<Bytes> pictures) : pictures_(std::move(pictures)) {}
  int64_t size() const override { return static_cast<int64_t>(pictures_.size()); }
  const std::vector<std::string>& class_names() const override { return names_; }
  int label(int64_t) const override { return 0; }
  std::string describe(int64_t index) const override { return "picture " + std::to_string(index); }

 protected:
  std::span<const uint8_t> read(int64_t index, std::vector<uint8_t>&) const override {
    return pictures_[static_cast<size_t>(index)];
  }

 private:
  std::vector<Bytes> pictures_;
  std::vector<std::string> names_ = {"name"};
};

int within(Random& random, int low, int high) {
  return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low + 1)));
}

/// JPEGs (of every sampling, grey ones and progressive ones too) and PNGs of many sizes, lines of pixels among them.
std::unique_ptr<Dataset> any_pictures(Random& random) {
  std::vector<Bytes> pictures;
  for (const auto& [height, width] : {std::pair{1, 1}, {1, 40}, {40, 1}, {2, 90}}) {
    pictures.push_back(test::jpeg(formula_picture(height, width, 3)));
  }
  for (int i = 0; i < 16; ++i) {
    const Image image = formula_picture(within(random, 1, 100), within(random, 1, 100), i % 4 == 0 ? 1 : 3);
    const test::JpegForm form{within(random, 1, 2), within(random, 1, 2), i % 5 == 0, 0};
    pictures.push_back(i % 3 == 2 ? test::png(image) : test::jpeg(image, 90, form));
  }
  return std::make_unique<Encoded>(std::move(pictures));
}

std::shared_ptr<const Transform> any_transform(Random& random) {
  const int height = within(random, 1, 60), width = within(random, 1, 60);
  switch (random.below(10)) {
    case 0:
    case 1:
      return std::make_shared<Resize>(height);
    case 2:
      return std::make_shared<Resize>(height, width);
    case 3:
      return std::make_shared<CenterCrop>(height, width);
    case 4:
      return std::make_shared<RandomCrop>(height, width, within(random, 0, 1) * within(random, 0, 70));
    case 5:
    case 6:
      return std::make_shared<RandomResizedCrop>(RandomResizedCrop::Options{.height = height, .width = width});
    case 7:
      return std::make_shared<HorizontalFlip>();
    case 8:
      return std::make_shared<Pad>(within(random, 0, 9));
    default:
      return std::make_shared<ConvertChannels>(within(random, 0, 1) * 2 + 1);
  }
}

/// The whole picture, then each transform by itself; false where one of them cannot take it.
bool step_by_step(const Dataset& dataset, int64_t index, const std::vector<std::shared_ptr<const Transform>>& steps,
                  Image& image) {
  TransformScratch scratch;
  dataset.load_in_epoch(index, kEpoch, image);
  for (size_t position = 0; position < steps.size(); ++position) {
    Random random(kSeed, RandomPurpose::augmentation,
                  static_cast<uint64_t>(kEpoch) << 40 | static_cast<uint64_t>(index), static_cast<uint32_t>(position));
    try {
      steps[position]->apply(image, random, scratch);
    } catch (const ShapeError&) {
      return false;
    }
  }
  return true;
}

void expect_same(const Dataset& dataset, int pipelines, Random& random, int& taken, int& refused) {
  TransformScratch scratch;
  Image found, expected;
  for (int i = 0; i < pipelines; ++i) {
    Pipeline pipeline;
    std::vector<std::shared_ptr<const Transform>> steps(within(random, 1, 5));
    for (auto& step : steps) {
      step = any_transform(random);
      pipeline.add(step);
    }
    for (int64_t index = 0; index < dataset.size(); ++index) {
      const auto load = [&] { load_transformed(dataset, index, pipeline, kSeed, kEpoch, found, scratch); };
      if (!step_by_step(dataset, index, steps, expected)) {
        ++refused;
        EXPECT_TRUE(test::throws_with<ShapeError>(load, {dataset.describe(index)}));
        continue;
      }
      ++taken;
      load();
      ASSERT_EQ(found.height, expected.height);
      ASSERT_EQ(found.width, expected.width);
      ASSERT_EQ(found.channels, expected.channels);
      ASSERT_EQ(found.pixels, expected.pixels) << dataset.describe(index) << " of pipeline " << i;
    }
  }
}

TEST(Framing, EncodedPicturesAreWhatTheStepsOneByOneMakeOfThem) {
  Random random(1, RandomPurpose::test);
  int taken = 0, refused = 0;
  for (int set = 0; set < 4; ++set) expect_same(*any_pictures(random), 60, random, taken, refused);
  EXPECT_GT(taken, 1000);
  EXPECT_GT(refused, 500);
}

TEST(Framing, PicturesInMemoryAreWhatTheStepsOneByOneMakeOfThem) {
  Random random(2, RandomPurpose::test);
  int taken = 0, refused = 0;
  for (const int channels : {1, 3}) {
    const Image image = formula_picture(2 * 45, 37, channels);
    expect_same(MemoryDataset({45, 37, channels, image.pixels, {0, 0}, "memory"}, {"name"}), 300, random, taken,
                refused);
  }
  EXPECT_GT(taken, 400);
  EXPECT_GT(refused, 50);
}

TEST(Framing, StepsAfterAnotherKindOfStepKeepTheirDraws) {
  const std::vector<std::shared_ptr<const Transform>> steps = {
      std::make_shared<RandomCrop>(20, 20, 0),
      std::make_shared<ColorJitter>(ColorJitter::Strengths{.brightness = 0.4f}),
      std::make_shared<RandomCrop>(10, 10, 0)};
  Pipeline pipeline;
  for (const auto& step : steps) pipeline.add(step);
  const Encoded dataset({test::jpeg(formula_picture(64, 48, 3))});
  Image found, expected;
  TransformScratch scratch;
  load_transformed(dataset, 0, pipeline, kSeed, kEpoch, found, scratch);
  ASSERT_TRUE(step_by_step(dataset, 0, steps, expected));
  EXPECT_EQ(found.pixels, expected.pixels);
}

TEST(Framing, NeedsNoMoreThanTheFilterReaches) {
  Framing framing(375, 500);
  framing.resize(256, 341);
  framing.crop({16, 58, 224, 224});
  // Outputs 16 … 239 of 256 and 58 … 281 of 341 reach 1.465 and 1.466 pixels beyond their centres.
  const Window needed = framing.part().window;
  EXPECT_EQ(needed.top, 23);
  EXPECT_EQ(needed.bottom(), 352);
  EXPECT_EQ(needed.left, 84);
  EXPECT_EQ(needed.right(), 414);
}

/// Edges, gradients and grain of some levels, by a formula.
Image scene(int height, int width) {
  Image image;
  image.reshape(height, width, 3);
  Random random(5, RandomPurpose::test);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int grain = static_cast<int>(random.below(24));
      const bool is_inside = (x - width / 2) * (x - width / 2) + (y - height / 3) * (y - height / 3) < 90000;
      const bool is_stripe = (x / 37 + y / 53) % 3 == 0;
      for (int c = 0; c < 3; ++c) {
        const int level = 30 + 90 * x / width + 20 * c + (is_inside ? 70 : 0) + (is_stripe ? 25 - 20 * c : 0);
        image.row(y)[3 * x + c] = static_cast<uint8_t>(std::min(level + grain, 255));
      }
    }
  }
  return image;
}

TEST(Framing, ALargePictureMayBeDecodedSmallerAndStaysNear) {
  const Encoded dataset({test::jpeg(scene(1500, 2000), 90), test::png(scene(1500, 2000))});
  TransformScratch scratch;
  Image exact, reduced;
  for (const int size : {30, 64, 90, 180, 200}) {
    Pipeline pipeline;
    pipeline.add(std::make_shared<Resize>(size));
    pipeline.add(std::make_shared<RandomCrop>(size * 3 / 4, size * 3 / 4, 0));
    pipeline.add(std::make_shared<HorizontalFlip>());
    load_transformed(dataset, 0, pipeline, kSeed, kEpoch, exact, scratch);
    load_transformed(dataset, 0, pipeline, kSeed, kEpoch, reduced, scratch, true);
    ASSERT_EQ(reduced.pixels.size(), exact.pixels.size());
    double sum = 0.0;
    int largest = 0;
    for (size_t i = 0; i < exact.pixels.size(); ++i) {
      const int difference = std::abs(exact.pixels[i] - reduced.pixels[i]);
      sum += difference;
      largest = std::max(largest, difference);
    }
    EXPECT_LE(sum / static_cast<double>(exact.pixels.size()), 0.35) << size;
    EXPECT_LE(largest, 6) << size;
    // Shrunk less than eight times it is decoded whole.
    EXPECT_EQ(reduced.pixels != exact.pixels, size < 1500 / 8) << size;
    // A PNG is decoded whole at any rate.
    load_transformed(dataset, 1, pipeline, kSeed, kEpoch, exact, scratch);
    load_transformed(dataset, 1, pipeline, kSeed, kEpoch, reduced, scratch, true);
    EXPECT_EQ(reduced.pixels, exact.pixels) << size;
  }
}

TEST(Framing, PicturesThatAreNotDecodedAreNotReduced) {
  const Image image = formula_picture(64, 64, 3);
  const MemoryDataset dataset({64, 64, 3, image.pixels, {0}, "memory"}, {"name"});
  Pipeline pipeline;
  pipeline.add(std::make_shared<Resize>(4));
  TransformScratch scratch;
  Image exact, reduced;
  load_transformed(dataset, 0, pipeline, kSeed, kEpoch, exact, scratch);
  load_transformed(dataset, 0, pipeline, kSeed, kEpoch, reduced, scratch, true);
  EXPECT_EQ(reduced.pixels, exact.pixels);
}

TEST(Framing, AsksForAReducedPictureOnlyWhereItIsShrunkMuch) {
  const auto reduction = [](int height, int width, int to_height, int to_width) {
    Framing framing(height, width);
    framing.allow_reduction();
    framing.resize(to_height, to_width);
    const Part part = framing.part();
    EXPECT_EQ(part.window, (Window{0, 0, height, width}));
    return part.reduction;
  };
  EXPECT_EQ(reduction(800, 800, 100, 100), 2);
  EXPECT_EQ(reduction(799, 800, 100, 100), 1);
  EXPECT_EQ(reduction(800, 4000, 100, 100), 2);
  EXPECT_EQ(reduction(1600, 1600, 100, 100), 4);
  EXPECT_EQ(reduction(3200, 3200, 100, 100), 8);
  EXPECT_EQ(reduction(6400, 6400, 100, 100), 8);
  EXPECT_EQ(reduction(100, 100, 200, 200), 1);
  Framing framing(800, 800);
  framing.resize(100, 100);
  EXPECT_EQ(framing.part().reduction, 1) << "not unless it is allowed";
}

TEST(Framing, ResamplesOnceAndOnlyWhatIsNotMirroredOrPadded) {
  Framing framing(40, 50);
  framing.crop({5, 5, 20, 20});
  EXPECT_TRUE(framing.resizable());
  Framing padded(40, 50), mirrored = framing;
  framing.resize(10, 10);
  EXPECT_FALSE(framing.resizable());
  EXPECT_FALSE(framing.convert(1));
  EXPECT_THROW(framing.resize(5, 5), Error);
  EXPECT_TRUE(padded.crop({-30, 0, 60, 20}));
  EXPECT_FALSE(padded.resizable());
  EXPECT_FALSE(padded.crop({0, 0, 60, 21}));  // what was cut away at the right would come back
  mirrored.mirror();
  EXPECT_FALSE(mirrored.resizable());
  EXPECT_TRUE(mirrored.convert(1));
  EXPECT_FALSE(mirrored.convert(3));
}

}  // namespace
}  // namespace striate
