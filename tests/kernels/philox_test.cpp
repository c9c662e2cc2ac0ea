#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <array>

namespace striate::test {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers of the Random123 distribution (kat_vectors, "philox4x32 10").
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // the digits of pi
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, IsAConstantExpression) {
  static_assert(philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
  SUCCEED();
}

TEST(Philox, UniformLiesInItsHalfOpenRange) {
  EXPECT_EQ(uniform_from_word(0), 0.0f);
  EXPECT_EQ(uniform_from_word(0xff), 0.0f);
  EXPECT_EQ(uniform_from_word(0x80000000), 0.5f);
  EXPECT_EQ(uniform_from_word(0xffffffff), 1.0f - 0x1p-24f);
}

}  // namespace
}  // namespace striate::test
