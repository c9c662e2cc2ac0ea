#include "benchmarks/cuda_limits.h"

#include <gtest/gtest.h>

#include "benchmarks/device_values.h"
#include "benchmarks/machine_limit.h"
#include "engine/device.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"

namespace striate::bench {
namespace {

// Values, no times: what the kernels compute is known, on whatever executes them.
TEST(CudaLimits, ChainsDoTheArithmeticTheyAreCountedFor) {
  Context& context = striate::context(Device::cuda);
  constexpr int kBlocks = 2, kSteps = 5;
  DeviceValues<float> sums(kBlocks * kLimitThreads);
  const auto expect_all = [&](float value) {
    synchronize(Device::cuda);
    for (int64_t i = 0; i < sums.size(); ++i) ASSERT_EQ(sums[i], value) << i;
  };
  EXPECT_EQ(fma_chains(sums, kBlocks, kSteps, 1.0f, 3.0f, context),
            2.0 * kBlocks * kLimitThreads * kFmaChains * kSteps);
  expect_all(120.0f + 3.0f * kSteps * kFmaChains);  // 0 + 1 + … + 15, and a term a step and chain
  EXPECT_EQ(product_chains(Precision::tf32, sums, kBlocks, kSteps, 2.0f, 3.0f, context),
            2.0 * kBlocks * (kLimitThreads / 32) * kProductChains * kSteps * 16 * 8 * 8);
  expect_all(2.0f * 3.0f * 8 * kSteps * kProductChains * 4);  // sums over k = 8, four values a thread and chain
  EXPECT_EQ(product_chains(Precision::bf16, sums, kBlocks, kSteps, 2.0f, 3.0f, context),
            2.0 * kBlocks * (kLimitThreads / 32) * kProductChains * kSteps * 16 * 8 * 16);
  expect_all(2.0f * 3.0f * 16 * kSteps * kProductChains * 4);
}

TEST(CudaLimits, CopyCopies) {
  constexpr int64_t kCount = 1027;
  DeviceValues<float> x(kCount), y(kCount);
  x.fill(1);
  for (int64_t i = 0; i < kCount; ++i) y[i] = -1.0f;
  EXPECT_EQ(copy_values(x, y, kCount, context(Device::cuda)), 8.0 * kCount);
  synchronize(Device::cuda);
  for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(y[i], x[i]) << i;
}

TEST(CudaLimits, AreNotMeasuredWithoutAGpu) {
  if (gpu::built_for_gpu()) GTEST_SKIP() << "they are, here";
  EXPECT_THROW(measure_cuda_limits(context(Device::cuda)), Error);
  EXPECT_FALSE(measure_machine_limit(Device::cuda, Precision::tf32).has_value());
}

}  // namespace
}  // namespace striate::bench
