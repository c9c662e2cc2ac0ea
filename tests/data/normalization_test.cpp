#include "data/normalization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>

#include "data/datasets/memory_dataset.h"
#include "data/datasets/synthetic.h"
#include "kernels/error.h"
#include "tests/support/error.h"

namespace striate {
namespace {

std::vector<int64_t> first(int64_t n) {
  std::vector<int64_t> indices(static_cast<size_t>(n));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

TEST(Normalization, TableIsTheFormula) {
  const Normalization normalization{{0.1307, 0.5}, {0.3081, 0.25}};
  const auto table = normalization.table();
  ASSERT_EQ(table.size(), 512u);
  for (int level = 0; level < 256; ++level) {
    EXPECT_FLOAT_EQ(table[level], static_cast<float>((level / 255.0 - 0.1307) / 0.3081));
    EXPECT_FLOAT_EQ(table[256 + level], static_cast<float>((level / 255.0 - 0.5) / 0.25));
  }
}

TEST(Normalization, ComputedByHand) {
  PictureBlock block;
  block.height = 1;
  block.width = 2;
  block.channels = 1;
  block.pixels = {0, 255, 51, 204, 9, 9};
  block.labels = {0, 1, 0};
  const MemoryDataset dataset(block, {"a", "b"});
  // Of the first two pictures: levels 0, 1, 0.2, 0.8: mean 0.5, variance (0.25 + 0.25 + 0.09 + 0.09)/4.
  const auto two = first(2);
  const auto normalization = compute_normalization(dataset, {two}, 1);
  ASSERT_EQ(normalization.mean.size(), 1u);
  EXPECT_DOUBLE_EQ(normalization.mean[0], 0.5);
  EXPECT_NEAR(normalization.std[0], std::sqrt(0.17), 1e-12);
  const std::vector<int64_t> constant = {2};
  EXPECT_TRUE(
      test::throws_with<ConfigError>([&] { compute_normalization(dataset, {constant}, 1); }, {"the same everywhere"}));
}

TEST(Normalization, ThreadsChangeNothing) {
  const auto dataset = open_synthetic({.height = 9, .width = 11}).train;
  const auto hundred = first(101);
  const auto one = compute_normalization(*dataset, {hundred, 1}, 3);
  const auto four = compute_normalization(*dataset, {hundred, 4}, 3);
  EXPECT_EQ(one.mean, four.mean);
  EXPECT_EQ(one.std, four.std);
}

TEST(Normalization, ChannelsAreConverted) {
  const auto grey_to_rgb = with_channels(published_normalization("mnist"), 3);
  EXPECT_EQ(grey_to_rgb.mean, std::vector(3, 0.1307));
  EXPECT_EQ(grey_to_rgb.std, std::vector(3, 0.3081));
  const auto rgb_to_grey = with_channels({{1.0, 0.5, 0.25}, {0.2, 0.2, 0.2}}, 1);
  EXPECT_DOUBLE_EQ(rgb_to_grey.mean[0], 0.299 + 0.587 * 0.5 + 0.114 * 0.25);
  EXPECT_DOUBLE_EQ(rgb_to_grey.std[0], 0.2);
}

}  // namespace
}  // namespace striate
