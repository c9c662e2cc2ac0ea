#include "data/transforms/local_contrast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "data/transforms/parse.h"
#include "kernels/error.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"

namespace striate {
namespace {

using test::formula_picture;

Image normalized(Image image, double sigma, double floor) {
  Random random(1, RandomPurpose::augmentation);
  TransformScratch scratch;
  LocalContrast(sigma, floor).apply(image, random, scratch);
  return image;
}

/// The definition, a double sum over the window for every pixel.
std::vector<double> by_definition(const Image& image, double sigma, double floor) {
  const int radius = static_cast<int>(std::ceil(3 * sigma));
  const auto mean_about = [&](const std::vector<double>& values, int channels, int y, int x, int c) {
    double sum = 0, total = 0;
    for (int v = std::max(0, y - radius); v <= std::min(image.height - 1, y + radius); ++v) {
      for (int u = std::max(0, x - radius); u <= std::min(image.width - 1, x + radius); ++u) {
        const double weight = std::exp(-((v - y) * (v - y) + (u - x) * (u - x)) / (2 * sigma * sigma));
        sum += weight * values[(v * image.width + u) * channels + c];
        total += weight;
      }
    }
    return sum / total;
  };
  const int channels = image.channels;
  const std::vector<double> values(image.pixels.begin(), image.pixels.end());
  std::vector<double> centred(values.size()), squares(values.size() / channels, 0.0), result(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const int c = static_cast<int>(i) % channels, p = static_cast<int>(i) / channels;
    centred[i] = values[i] - mean_about(values, channels, p / image.width, p % image.width, c);
    squares[p] += centred[i] * centred[i] / channels;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const int p = static_cast<int>(i) / channels;
    const double deviation = std::sqrt(mean_about(squares, 1, p / image.width, p % image.width, 0));
    result[i] = std::clamp(128 + 42 * centred[i] / std::max(deviation, floor), 0.0, 255.0);
  }
  return result;
}

TEST(LocalContrast, FollowsItsDefinition) {
  for (const int channels : {1, 3}) {
    for (const double sigma : {0.8, 2.0, 9.0}) {
      const Image image = formula_picture(13, 19, channels);
      const Image found = normalized(image, sigma, 10);
      const auto expected = by_definition(image, sigma, 10);
      ASSERT_EQ(found.pixels.size(), expected.size());
      // Half a level of rounding, and a little for single precision.
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(found.pixels[i], expected[i], 0.51) << "at " << i << ", sigma " << sigma;
      }
    }
  }
}

TEST(LocalContrast, WhatIsSmoothBecomesGrey) {
  Image flat;
  flat.reshape(20, 30, 3);
  for (size_t i = 0; i < flat.pixels.size(); ++i) flat.pixels[i] = static_cast<uint8_t>(200 - 60 * (i % 3));
  for (const uint8_t level : normalized(flat, 3, 8).pixels) EXPECT_EQ(level, 128);
}

TEST(LocalContrast, AnEdgeIsAsStrongInTheShade) {
  const auto edge = [](int dark, int bright) {
    Image image;
    image.reshape(24, 24, 1);
    for (int y = 0; y < 24; ++y) {
      for (int x = 0; x < 24; ++x) image.row(y)[x] = static_cast<uint8_t>(x < 12 ? dark : bright);
    }
    return image;
  };
  const Image sun = normalized(edge(40, 240), 2, 1), shade = normalized(edge(10, 60), 2, 1);
  for (int x = 0; x < 24; ++x) EXPECT_NEAR(sun.row(12)[x], shade.row(12)[x], 1) << x;
  EXPECT_LT(sun.row(12)[11], 100);
  EXPECT_GT(sun.row(12)[12], 156);
  // Below the floor it grows with the edge instead.
  const int faint = normalized(edge(100, 102), 2, 8).row(12)[12],
            fainter = normalized(edge(100, 101), 2, 8).row(12)[12];
  EXPECT_NEAR(faint - 128, 2 * (fainter - 128), 1);
  EXPECT_LT(faint, 136);
}

TEST(LocalContrast, IsReadFromAConfiguration) {
  const auto apply = [](const std::string& yaml) {
    ConfigReader reader = ConfigReader::parse("t: [" + yaml + "]");
    const Pipeline pipeline = parse_transforms(reader, "t");
    Image image = formula_picture(9, 9, 3);
    TransformScratch scratch;
    pipeline.apply(image, 0, 0, 0, scratch);
    return image.pixels;
  };
  EXPECT_EQ(apply("local_contrast"), normalized(formula_picture(9, 9, 3), 3, 8).pixels);
  EXPECT_EQ(apply("{local_contrast: 5}"), normalized(formula_picture(9, 9, 3), 5, 8).pixels);
  EXPECT_EQ(apply("{local_contrast: {sigma: 2, floor: 90}}"), normalized(formula_picture(9, 9, 3), 2, 90).pixels);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { apply("{local_contrast: 0}"); }, {"local_contrast", "0.5"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { apply("{local_contrast: {floor: 0}}"); }, {"floor", "0.1"}));
}

}  // namespace
}  // namespace striate
