#include "engine/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "kernels/dropout/dropout.h"

namespace striate {
namespace {

std::vector<uint32_t> words(Random random, int count) {
  std::vector<uint32_t> out;
  for (int i = 0; i < count; ++i) out.push_back(random.word());
  return out;
}

TEST(Random, HangsOnSeedPurposeAndIndicesAlone) {
  const auto base = words(Random(7, RandomPurpose::shuffle, 3, 2), 16);
  EXPECT_EQ(base, words(Random(7, RandomPurpose::shuffle, 3, 2), 16));
  const std::set<std::vector<uint32_t>> streams{base,
                                                words(Random(8, RandomPurpose::shuffle, 3, 2), 16),
                                                words(Random(7, RandomPurpose::split, 3, 2), 16),
                                                words(Random(7, RandomPurpose::shuffle, 4, 2), 16),
                                                words(Random(7, RandomPurpose::shuffle, 3, 3), 16),
                                                words(Random(7, RandomPurpose::shuffle, uint64_t{3} << 32, 2), 16)};
  EXPECT_EQ(streams.size(), 6u);
}

TEST(Random, CanBeginInTheMiddle) {
  const Random stream(7, RandomPurpose::test, 3);
  Random whole = stream;
  std::vector<float> values;
  for (int i = 0; i < 40; ++i) values.push_back(i < 20 ? whole.uniform() : whole.normal());
  for (const int block : {0, 1, 4, 5, 9}) {
    Random part = stream;
    part.normal();  // leaves a spare
    part.start_at(static_cast<uint32_t>(block));
    for (int i = 4 * block; i < 4 * block + 4; ++i) {
      EXPECT_EQ(i < 20 ? part.uniform() : part.normal(), values[static_cast<size_t>(i)]) << i;
    }
  }
}

TEST(Random, PositionSaysWhereTheNextWordsComeFrom) {
  Random random(5, RandomPurpose::test, uint64_t{9} << 33, 2);
  for (int drawn = 0; drawn < 13; ++drawn) {
    const Random::Position at = random.position();
    EXPECT_EQ(at.word, static_cast<uint32_t>(drawn));
    const auto block = philox4x32({at.word / 4, at.stream[0], at.stream[1], at.stream[2]}, at.key);
    EXPECT_EQ(random.word(), block[at.word % 4]) << drawn;
  }
}

TEST(Random, UniformFillsItsRangeEvenly) {
  Random random(1, RandomPurpose::test);
  std::array<int, 10> bins{};
  double sum = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const float u = random.uniform();
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    ++bins[static_cast<size_t>(u * 10)];
    sum += u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));  // five standard errors
  for (const int count : bins) EXPECT_NEAR(count, kDraws / 10, 5 * std::sqrt(kDraws * 0.09));
}

TEST(Random, NormalHasItsMoments) {
  Random random(2, RandomPurpose::test);
  constexpr int kDraws = 100000;
  double m1 = 0, m2 = 0, m4 = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = random.normal();
    m1 += z, m2 += z * z, m4 += z * z * z * z;
  }
  EXPECT_NEAR(m1 / kDraws, 0.0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(m2 / kDraws, 1.0, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(m4 / kDraws, 3.0, 5 * std::sqrt(96.0 / kDraws));
}

TEST(Random, BelowIsUnbiased) {
  Random random(3, RandomPurpose::test);
  std::array<int, 7> bins{};
  constexpr int kDraws = 70000;
  for (int i = 0; i < kDraws; ++i) ++bins.at(random.below(7));
  for (const int count : bins) EXPECT_NEAR(count, kDraws / 7, 5 * std::sqrt(kDraws * 6.0 / 49));
  // 2^63 + 1 rejects half of the raw draws: a biased reduction would show as a value beyond it.
  for (int i = 0; i < 1000; ++i) EXPECT_LE(random.below((uint64_t{1} << 63) + 1), uint64_t{1} << 63);
}

TEST(Random, NoStreamMeetsADropoutMask) {
  // Seed 0, step 0, layer 0: the mask's first block against the first draw of each purpose with the same indices.
  const DropoutState state{};
  for (const RandomPurpose purpose : {RandomPurpose::initialization, RandomPurpose::shuffle, RandomPurpose::split,
                                      RandomPurpose::augmentation, RandomPurpose::synthetic, RandomPurpose::test}) {
    EXPECT_NE(Random(0, purpose).uniform(), dropout_uniform(state, 0, 0));
  }
}

}  // namespace
}  // namespace striate
