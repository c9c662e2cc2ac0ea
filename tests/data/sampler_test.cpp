#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <vector>

#include "kernels/error.h"

namespace striate {
namespace {

TEST(Sampler, EveryEpochIsAPermutationOfItsOwn) {
  const auto first = epoch_order(1000, true, 7, 0), second = epoch_order(1000, true, 7, 1);
  EXPECT_EQ(first, epoch_order(1000, true, 7, 0));
  EXPECT_NE(first, second);
  EXPECT_NE(first, epoch_order(1000, true, 8, 0));
  auto sorted = second;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, epoch_order(1000, false, 7, 1));
}

TEST(Sampler, PermutationsAreUniform) {
  // Of 3 elements over 6000 epochs each of the 6 orders comes about 1000 times (σ = 29).
  std::vector<int> counts(9, 0);
  for (int64_t epoch = 0; epoch < 6000; ++epoch) {
    const auto order = epoch_order(3, true, 1, epoch);
    ++counts[order[0] * 3 + order[1]];
  }
  for (int i = 0; i < 9; ++i) EXPECT_NEAR(counts[i], i / 3 == i % 3 ? 0 : 1000, 150);
}

TEST(Sampler, SplitPartsTheSamples) {
  const auto split = split_validation(1000, 0.1, 3);
  EXPECT_EQ(split.validation.size(), 100u);
  EXPECT_EQ(split.train.size(), 900u);
  std::vector<int64_t> all;
  std::merge(split.train.begin(), split.train.end(), split.validation.begin(), split.validation.end(),
             std::back_inserter(all));
  std::vector<int64_t> expected(1000);
  std::iota(expected.begin(), expected.end(), int64_t{0});
  EXPECT_EQ(all, expected);
  EXPECT_EQ(split.validation, split_validation(1000, 0.1, 3).validation);
  EXPECT_NE(split.validation, split_validation(1000, 0.1, 4).validation);
  EXPECT_NE(split.validation.back(), 99);  // not simply the first
}

TEST(Sampler, NoFractionKeepsAllForTraining) {
  const auto split = split_validation(10, 0.0, 3);
  EXPECT_EQ(split.train.size(), 10u);
  EXPECT_TRUE(split.validation.empty());
}

TEST(Sampler, ImpossibleFractionsAreRefused) {
  for (const double fraction : {-0.1, 1.0, 1.5, 0.01, 0.99})
    EXPECT_THROW(split_validation(10, fraction, 0), ConfigError);
}

}  // namespace
}  // namespace striate
