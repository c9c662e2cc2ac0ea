#include "benchmarks/simd_target.h"

#include <gtest/gtest.h>

#include "benchmarks/kernels_limits.h"
#include "engine/device.h"
#include "kernels/error.h"
#include "kernels/gemm/micro.h"
#include "kernels/simd_targets.h"
// After the targets that it is limited to.
#include <hwy/targets.h>

namespace striate::bench {
namespace {

class SimdTarget : public testing::Test {
 protected:
  ~SimdTarget() override {
    hwy::SetSupportedTargetsForTest(0);
    use_simd_target("best");
  }
};

std::string refusal(const std::string& name) {
  try {
    use_simd_target(name);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

std::string kernels_target() { return gemm::micro_kernels<float>().target; }

TEST_F(SimdTarget, KernelsUseTheOneThatIsAskedFor) {
  const std::string best = kernels_target();
  for (const std::string& name : supported_simd_targets()) {
    use_simd_target(name);
    const std::string used = kernels_target();
    std::string expected = name;
    for (char& c : expected) c = static_cast<char>(std::toupper(c));
    EXPECT_EQ(used == "AVX3" ? "AVX512" : used, expected);
    EXPECT_EQ(supported_simd_targets(), std::vector<std::string>{name}) << "the others are ruled out";
    if (name != "avx512") {
      EXPECT_EQ(gemm::micro_kernels<bfloat16>().target, used) << "no AVX-512 BF16 either";
    }
    use_simd_target("best");
    EXPECT_EQ(kernels_target(), best);
  }
}

TEST_F(SimdTarget, ThePeakIsMeasuredWithTheSameOne) {
  const std::vector<std::string> supported = supported_simd_targets();
  if (supported.size() < 2) GTEST_SKIP() << "this CPU has only " << supported[0];
  use_simd_target(supported[1]);
  const Limits limits = measure_limits(context(Device::cpu));
  EXPECT_EQ(limits.simd, kernels_target());
  if (supported[0] == "avx512") {
    EXPECT_EQ(limits.bf16_flops, 0.0);
  }
}

TEST_F(SimdTarget, RefusesWhatTheBuildOrTheCpuLacks) {
  EXPECT_NE(refusal("avx7").find("--target avx7: the kernels of this build are compiled for "), std::string::npos)
      << refusal("avx7");
  const std::vector<std::string> known = simd_targets();
  ASSERT_FALSE(known.empty());
  if (known.size() < 2) GTEST_SKIP() << "this build has only " << known[0];
  hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & ~(HWY_TARGETS & -HWY_TARGETS));
  EXPECT_EQ(refusal(known[0]).find("--target " + known[0] + ": this CPU lacks it; it has " + known[1]), 0u)
      << refusal(known[0]);
  EXPECT_EQ(refusal(known.back()), "accepted");
}

}  // namespace
}  // namespace striate::bench
