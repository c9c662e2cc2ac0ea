#include "data/transforms/random_erasing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "data/transforms/parse.h"
#include "data/transforms/settle.h"
#include "kernels/error.h"
#include "tests/support/error.h"

namespace striate {
namespace {

constexpr int kHeight = 60, kWidth = 80;

Image white(int channels) {
  Image image;
  image.reshape(kHeight, kWidth, channels);
  std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{255});
  return image;
}

struct Rectangle {
  int top = kHeight, left = kWidth, bottom = 0, right = 0;
  int height() const { return bottom - top; }
  int width() const { return right - left; }
};

/// What is not white any more, every pixel of which must be `level`.
std::optional<Rectangle> erased(const Image& image, uint8_t level) {
  Rectangle found;
  int changed = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* pixel = image.row(y) + x * image.channels;
      if (pixel[0] == 255) continue;
      for (int c = 0; c < image.channels; ++c) EXPECT_EQ(pixel[c], level);
      found.top = std::min(found.top, y);
      found.left = std::min(found.left, x);
      found.bottom = std::max(found.bottom, y + 1);
      found.right = std::max(found.right, x + 1);
      ++changed;
    }
  }
  if (changed == 0) return std::nullopt;
  EXPECT_EQ(changed, found.height() * found.width()) << "not one rectangle";
  return found;
}

Image apply(const RandomErasing& transform, uint64_t sample, int channels = 3) {
  Image image = white(channels);
  Random random(5, RandomPurpose::augmentation, sample);
  TransformScratch scratch;
  transform.apply(image, random, scratch);
  return image;
}

TEST(RandomErasing, RectanglesHaveTheAreasShapesAndPlacesAsked) {
  const RandomErasing transform({.fill = RandomErasing::Fill::black});
  const int draws = 4000;
  int count = 0, touch_top = 0, touch_bottom = 0;
  double area_sum = 0, log_ratio_sum = 0;
  for (uint64_t sample = 0; sample < draws; ++sample) {
    const auto rectangle = erased(apply(transform, sample, sample % 2 == 0 ? 1 : 3), 0);
    if (!rectangle) continue;
    ++count;
    touch_top += rectangle->top == 0;
    touch_bottom += rectangle->bottom == kHeight;
    const double h = rectangle->height(), w = rectangle->width();
    // The sides are rounded to pixels: by half a one at most.
    EXPECT_GE((h + 0.5) * (w + 0.5), 0.02 * kHeight * kWidth);
    EXPECT_LE((h - 0.5) * (w - 0.5), 0.33 * kHeight * kWidth);
    EXPECT_GE((h + 0.5) / (w - 0.5), 0.3);
    EXPECT_LE((h - 0.5) / (w + 0.5), 3.3);
    area_sum += h * w / (kHeight * kWidth);
    log_ratio_sum += std::log(h / w);
  }
  EXPECT_NEAR(count, draws / 2, 150) << "probability 0.5";
  // Uniform in [0.02, 0.33] has mean 0.175; the largest flat ones that do not fit 60×80 are drawn again.
  EXPECT_NEAR(area_sum / count, 0.17, 0.01);
  EXPECT_NEAR(log_ratio_sum / count, 0.0, 0.05);
  EXPECT_GT(touch_top, 10);
  EXPECT_GT(touch_bottom, 10);
}

TEST(RandomErasing, FillsWithTheMeanOnceItIsKnown) {
  ConfigReader reader = ConfigReader::parse("transforms: [{random_erasing: 1}]");
  const Pipeline unsettled = parse_transforms(reader, "transforms");
  const Pipeline pipeline = settled(unsettled, {0.5, 0.25, 1.0}, std::nullopt);
  TransformScratch scratch;
  Image image = white(3);
  pipeline.apply(image, 1, 0, 0, scratch);
  int found = 0;
  for (size_t p = 0; p < image.pixels.size(); p += 3) {
    if (image.pixels[p] == 255) continue;
    ++found;
    EXPECT_EQ(image.pixels[p], 128);
    EXPECT_EQ(image.pixels[p + 1], 64);
    EXPECT_EQ(image.pixels[p + 2], 255);
  }
  EXPECT_GT(found, 0);
}

TEST(RandomErasing, RandomFillUsesAllLevels) {
  const RandomErasing transform({.probability = 1.0, .scale_min = 0.3, .fill = RandomErasing::Fill::random});
  const Image image = apply(transform, 3);
  double sum = 0, changed = 0;
  for (const uint8_t level : image.pixels) {
    if (level == 255) continue;
    sum += level;
    ++changed;
  }
  EXPECT_GT(changed, 0.25 * static_cast<double>(image.pixels.size()));
  EXPECT_NEAR(sum / changed, 127.0, 5.0);
  EXPECT_EQ(image.pixels, apply(transform, 3).pixels) << "hangs on the stream alone";
  EXPECT_NE(image.pixels, apply(transform, 4).pixels);
}

TEST(RandomErasing, WhatFitsNowhereErasesNothing) {
  const RandomErasing transform({.probability = 1.0, .scale_min = 1.0, .scale_max = 1.0});
  EXPECT_EQ(apply(transform, 1).pixels, white(3).pixels) << "torchvision erases less than the whole picture";
}

TEST(RandomErasing, BadOptionsAreNamed) {
  const auto parse = [](const std::string& options) {
    ConfigReader reader = ConfigReader::parse("t: [{random_erasing: {" + options + "}}]");
    parse_transforms(reader, "t");
  };
  for (const auto& [options, word] : {std::pair{"scale: [0.5, 0.1]", "low ≤ high"},
                                      {"scale: [0.5, 1.5]", "at most 1"},
                                      {"probability: 2", "from 0 to 1"},
                                      {"ratio: [0, 1]", "0 < low"},
                                      {"value: grey", "mean | black | random"},
                                      {"valeu: mean", "value"}}) {
    EXPECT_TRUE(test::throws_with<ConfigError>([&] { parse(options); }, {word})) << options;
  }
}

}  // namespace
}  // namespace striate
