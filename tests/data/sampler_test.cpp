#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <set>
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

std::vector<int64_t> every_third(int64_t n) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < n; ++i) {
    if (i % 3 != 0) samples.push_back(i);
  }
  return samples;
}

TEST(Sampler, WithoutRunsSamplesFollowTheEpochOrder) {
  const auto samples = every_third(100);
  std::vector<int64_t> expected;
  for (const int64_t place : epoch_order(static_cast<int64_t>(samples.size()), true, 5, 2))
    expected.push_back(samples[place]);
  EXPECT_EQ(shuffled_samples(samples, {}, 5, 2), expected);
  EXPECT_EQ(shuffled_samples(samples, {.length = 10, .open = 9}, 5, 2), expected) << "all ten runs are on hand";
  EXPECT_NE(shuffled_samples(samples, {.length = 10, .open = 8}, 5, 2), expected);
}

TEST(Sampler, FewRunsAreOnHandAtATime) {
  constexpr int64_t kLength = 50, kOpen = 6, kCount = 40;
  const auto samples = every_third(kLength * kCount - 20);
  const auto order = shuffled_samples(samples, {.length = kLength, .open = kOpen}, 1, 0);
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, samples);
  EXPECT_EQ(order, shuffled_samples(samples, {.length = kLength, .open = kOpen}, 1, 0));
  EXPECT_NE(order, shuffled_samples(samples, {.length = kLength, .open = kOpen}, 1, 1));
  // On hand: last seen here or before, seen again later. A run that wraps round the epoch's ends comes twice.
  constexpr size_t kGap = kLength * kCount / 3;
  std::map<int64_t, std::vector<size_t>> places;
  for (size_t i = 0; i < order.size(); ++i) places[order[i] / kLength].push_back(i);
  std::vector<int> on_hand(order.size() + 1, 0);
  int wrapped = 0;
  std::set<size_t> begins;
  for (const auto& [run, at] : places) {
    size_t begin = at.front();
    for (size_t i = 0; i < at.size(); ++i) {
      if (i + 1 < at.size() && at[i + 1] - at[i] < kGap) continue;
      ++on_hand[begin];
      --on_hand[at[i] + 1];
      if (i + 1 < at.size()) {
        ++wrapped;
        begin = at[i + 1];
      }
    }
    begins.insert(at.front());
  }
  EXPECT_LT(wrapped, kOpen);
  int now = 0;
  for (const int change : on_hand) {
    now += change;
    EXPECT_LE(now, kOpen + 1);
  }
  EXPECT_EQ(begins.size(), static_cast<size_t>(kCount));
  // The first hundred are of as many runs as may be on hand, not of one.
  std::set<int64_t> first;
  for (int i = 0; i < 100; ++i) first.insert(order[i] / kLength);
  EXPECT_GE(first.size(), static_cast<size_t>(kOpen));
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
