// Vectors of bfloat16 against to_float() and to_bfloat16(), on every instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/reference_values.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/simd_bfloat16_test.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

void round_trip(const float* from, int64_t n, bfloat16* rounded_to, float* widened_to) {
  for_each_vector(0, n, [&](int64_t i, auto part) HWY_ATTR {
    part.store(part.load(from + i), rounded_to + i);
    part.store(part.load(rounded_to + i), widened_to + i);
  });
}

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {
namespace {

HWY_EXPORT(round_trip);

/// Every upper half of a float with lower halves on both sides of a tie, and at it.
std::vector<float> values() {
  std::vector<float> v;
  for (uint32_t high = 0; high < 0x10000u; ++high) {
    for (const uint32_t low : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      v.push_back(std::bit_cast<float>(high << 16 | low));
    }
  }
  return v;
}

TEST(SimdBfloat16, RoundsAndWidensAsTheScalarsDo) {
  const std::vector<float> from = values();
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    std::vector<bfloat16> rounded(from.size());
    std::vector<float> widened(from.size());
    HWY_DYNAMIC_DISPATCH(round_trip)
    (from.data(), static_cast<int64_t>(from.size()), rounded.data(), widened.data());
    for (size_t i = 0; i < from.size(); ++i) {
      ASSERT_EQ(rounded[i].bits, to_bfloat16(from[i]).bits) << std::bit_cast<uint32_t>(from[i]);
      ASSERT_EQ(std::bit_cast<uint32_t>(widened[i]), uint32_t{rounded[i].bits} << 16);
    }
    for (int64_t n = 0; n <= 40; ++n) {  // nothing past the end
      std::vector<bfloat16> few(static_cast<size_t>(n) + 1, bfloat16{0x1234});
      std::vector<float> floats(static_cast<size_t>(n) + 1, -7.0f);
      HWY_DYNAMIC_DISPATCH(round_trip)(from.data() + 3, n, few.data(), floats.data());
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(few[i].bits, to_bfloat16(from[i + 3]).bits);
      ASSERT_EQ(few[n].bits, 0x1234);
      ASSERT_EQ(floats[n], -7.0f);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(ReferenceValues, RoundDoublesOnce) {
  // A float first would be a tie, which goes to the even neighbour below.
  EXPECT_EQ(reference::rounded_to<bfloat16>(1.0 + 0x1p-8 + 0x1p-40).bits, 0x3F81);
  EXPECT_EQ(reference::rounded_to<bfloat16>(1.0 + 0x1p-8).bits, 0x3F80);
  EXPECT_EQ(reference::rounded_to<bfloat16>(1.0 + 0x3p-8 - 0x1p-40).bits, 0x3F81);
  EXPECT_EQ(reference::rounded_to<bfloat16>(-1.0 - 0x1p-8 - 0x1p-40).bits, 0xBF81);
  EXPECT_EQ(reference::rounded_to<bfloat16>(1e300).bits, 0x7F80);
  EXPECT_EQ(reference::rounded_to<bfloat16>(-1e-300).bits, 0x8000);
  EXPECT_EQ(reference::rounded_to<bfloat16>(0x1p-134 * 1.0000001).bits, 0x0001);
}

}  // namespace
}  // namespace striate::cpu
#endif
