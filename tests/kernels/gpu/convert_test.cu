// Rounding to tf32 and bfloat16: every kind of case by its bits, and all values against an independent rounding.
#include "kernels/gpu/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "kernels/gpu/launch.h"
#include "tests/support/visible_memory.h"

namespace striate::gpu {
namespace {

float from_bits(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(ToTf32, RoundsToNearestTiesAway) {
  struct Case {
    uint32_t x, rounded;
  };
  for (const Case& c : {
           Case{0x3F800000u, 0x3F800000u},  // 1
           Case{0x3F800FFFu, 0x3F800000u},  // just below half a unit
           Case{0x3F801000u, 0x3F802000u},  // a tie, even below: away from zero all the same
           Case{0x3F803000u, 0x3F804000u},  // a tie, odd below
           Case{0xBF801000u, 0xBF802000u},  // negative: away from zero
           Case{0x3FFFF000u, 0x40000000u},  // carries into the exponent
           Case{0x00000000u, 0x00000000u}, Case{0x80000000u, 0x80000000u},  // −0
           Case{0x00000FFFu, 0x00000000u},                                  // subnormal, to zero
           Case{0x80000FFFu, 0x80000000u},                                  // to −0
           Case{0x00001000u, 0x00002000u},                                  // to the smallest tf32
           Case{0x007FF000u, 0x00800000u},                                  // to the smallest normal
           Case{0x7F7FEFFFu, 0x7F7FE000u},                                  // to the largest tf32
           Case{0x7F7FF000u, 0x7F800000u},                                  // beyond it: infinity
           Case{0xFF7FFFFFu, 0xFF800000u}, Case{0x7F800000u, 0x7F800000u},  // infinity stays
           Case{0xFF800000u, 0xFF800000u}, Case{0x7FC00000u, 0x7FC00000u},  // NaN
           Case{0x7FFFFFFFu, 0x7FFFE000u},                                  // no carry out of CUDA's own NaN
           Case{0xFFFFFFFFu, 0xFFFFE000u},                                  // the poison
           Case{0x7F801FFFu, 0x7F800000u},                                  // a NaN with nothing in tf32's bits
       }) {
    EXPECT_EQ(to_tf32(from_bits(c.x)), c.rounded) << std::hex << c.x;
  }
}

TEST(ToTf32, AgreesWithRoundingInDouble) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const uint32_t bits = random();
    const float x = from_bits(bits);
    if (!std::isfinite(x)) continue;
    // tf32's unit in the last place: 2^(e − 10), the same for all subnormals. std::round takes ties away from zero.
    const int exponent = std::max(std::ilogb(x), -126);
    const double unit = std::ldexp(1.0, exponent - 10), rounded = std::round(double{x} / unit) * unit;
    const float expected = static_cast<float>(std::abs(rounded) >= 0x1p128 ? std::copysign(INFINITY, x) : rounded);
    ASSERT_EQ(from_bits(to_tf32(x)), expected) << std::hex << bits;
  }
}

// What a kernel gets is what the host's code gets, for values of every kind.
__global__ void convert_kernel(const float* x, uint32_t* tf32, uint32_t* operand, uint32_t* bf16) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  tf32[i] = to_tf32(x[i]);
  operand[i] = to_tf32_operand(x[i]) & 0xFFFFE000u;
  bf16[i] = to_bf16x2(x[i], -x[i]) ^ to_bf16(x[i]);
}

TEST(Conversions, AreTheSameInAKernel) {
  std::mt19937 random(2);
  test::Values<float> x(256 * 256);
  for (float& v : x) v = from_bits(random());
  test::Values<uint32_t> tf32(x.size()), operand(x.size()), bf16(x.size());
  Stream stream;
  launch(convert_kernel, 256, 256, 0, stream, x.data(), tf32.data(), operand.data(), bf16.data());
  stream.synchronize();
  for (size_t i = 0; i < x.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    ASSERT_EQ(tf32[i], to_tf32(x[i])) << std::hex << bits;
    ASSERT_EQ(operand[i], to_tf32(x[i])) << std::hex << bits;
    ASSERT_EQ(bf16[i], (uint32_t{to_bf16(x[i])} << 16 | to_bf16(-x[i])) ^ to_bf16(x[i])) << std::hex << bits;
  }
}

TEST(ToBf16, RoundsToNearestTiesToEven) {
  struct Case {
    uint32_t x;
    uint16_t rounded;
  };
  for (const Case& c : {
           Case{0x3F800000u, 0x3F80u},  // 1
           Case{0x3F807FFFu, 0x3F80u},  // just below half a unit
           Case{0x3F808000u, 0x3F80u},  // a tie, even below
           Case{0x3F808001u, 0x3F81u},  // just above
           Case{0x3F818000u, 0x3F82u},  // a tie, odd below
           Case{0xBF818000u, 0xBF82u}, Case{0x3FFF8000u, 0x4000u}, Case{0x00000000u, 0x0000u},
           Case{0x80000000u, 0x8000u}, Case{0x00008000u, 0x0000u}, Case{0x00008001u, 0x0001u},
           Case{0x7F7F7FFFu, 0x7F7Fu},                              // to the largest
           Case{0x7F7F8000u, 0x7F80u},                              // beyond: infinity
           Case{0x7F800000u, 0x7F80u}, Case{0xFF800000u, 0xFF80u},  // infinities
           Case{0x7F800001u, 0x7FFFu}, Case{0xFFFFFFFFu, 0x7FFFu},  // NaN, of either sign
       }) {
    EXPECT_EQ(to_bf16(from_bits(c.x)), c.rounded) << std::hex << c.x;
  }
}

TEST(ToBf16, PairsHaveTheFirstInTheUpperHalf) {
  EXPECT_EQ(to_bf16x2(1.0f, -2.0f), 0x3F80C000u);
  EXPECT_EQ(from_bf16(static_cast<uint16_t>(to_bf16x2(1.0f, -2.0f))), -2.0f);
}

TEST(FromBf16, IsTheInverse) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto x = static_cast<uint16_t>(bits);
    if (std::isnan(from_bf16(x))) continue;
    ASSERT_EQ(to_bf16(from_bf16(x)), x);
  }
}

}  // namespace
}  // namespace striate::gpu
