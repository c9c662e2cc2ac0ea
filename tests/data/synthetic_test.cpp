#include "data/datasets/synthetic.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/error.h"
#include "tests/support/error.h"

namespace striate {
namespace {

TEST(Synthetic, AnySizeAndBothChannelCounts) {
  for (const auto& [height, width, channels] : {std::array{32, 32, 3}, std::array{28, 28, 1}, std::array{8, 40, 3}}) {
    const auto parts = open_synthetic({.height = height, .width = width, .channels = channels});
    const Image image = parts.train->load(3);
    EXPECT_EQ(image.height, height);
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.channels, channels);
    EXPECT_EQ(parts.train->channels(), channels);
  }
  EXPECT_GE(open_synthetic({}).train->classes(), 10);
}

TEST(Synthetic, PicturesHangOnSeedPartAndIndex) {
  const auto parts = open_synthetic({.seed = 5});
  EXPECT_EQ(parts.train->load(7).pixels, open_synthetic({.seed = 5}).train->load(7).pixels);
  EXPECT_NE(parts.train->load(7).pixels, parts.train->load(17).pixels);
  EXPECT_NE(parts.train->load(7).pixels, parts.test->load(7).pixels);
  EXPECT_NE(parts.train->load(7).pixels, open_synthetic({.seed = 6}).train->load(7).pixels);
}

/// The class whose mean training picture, brightness and contrast taken out, fits best: what a linear template finds.
double nearest_mean_accuracy() {
  const auto parts =
      open_synthetic({.height = 24, .width = 24, .channels = 1, .train_images = 2000, .test_images = 300});
  constexpr size_t kPixels = 24 * 24;
  const auto standardised = [](const Image& image) {
    double mean = 0, square = 0;
    for (const uint8_t p : image.pixels) mean += p / static_cast<double>(kPixels);
    for (const uint8_t p : image.pixels) square += (p - mean) * (p - mean) / static_cast<double>(kPixels);
    std::vector<double> out(kPixels);
    // Squared: figures are darker than their ground as often as brighter.
    for (size_t i = 0; i < kPixels; ++i) out[i] = std::pow(image.pixels[i] - mean, 2) / square;
    return out;
  };
  std::vector<std::vector<double>> means(10, std::vector<double>(kPixels, 0.0));
  for (int64_t i = 0; i < parts.train->size(); ++i) {
    const auto picture = standardised(parts.train->load(i));
    for (size_t p = 0; p < kPixels; ++p) means[parts.train->label(i)][p] += picture[p] / 200;
  }
  int right = 0;
  for (int64_t i = 0; i < parts.test->size(); ++i) {
    const auto picture = standardised(parts.test->load(i));
    int best = -1;
    double least = std::numeric_limits<double>::infinity();
    for (int c = 0; c < 10; ++c) {
      double distance = 0;
      for (size_t p = 0; p < kPixels; ++p) distance += std::pow(picture[p] - means[c][p], 2);
      if (distance < least) {
        least = distance;
        best = c;
      }
    }
    right += best == parts.test->label(i);
  }
  return static_cast<double>(right) / static_cast<double>(parts.test->size());
}

TEST(Synthetic, IsLearnableButNotTrivial) {
  const double accuracy = nearest_mean_accuracy();
  EXPECT_GT(accuracy, 0.15) << "templates should beat chance (0.1)";
  EXPECT_LT(accuracy, 0.80) << "templates should not solve it";
}

TEST(Synthetic, ImpossibleOptionsAreRefused) {
  EXPECT_TRUE(test::throws_with<ConfigError>([] { open_synthetic({.height = 4}); }, {"4×32", "8 to 4096"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { open_synthetic({.train_images = 0}); }, {"found 0"}));
}

}  // namespace
}  // namespace striate
