#include "benchmarks/cuda_limits.h"

#include <algorithm>
#include <functional>

#include "benchmarks/device_values.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/stream.h"

namespace striate::bench {
namespace {

constexpr int kTurns = 7;  // the fastest counts; the first also warms up

/// The most that `work` does a second, in what it returns.
double best_rate(Context& context, const std::function<double()>& work) {
  gpu::Event begin, end;
  double best = 0.0;
  for (int turn = 0; turn < kTurns; ++turn) {
    begin.record(*context.stream);
    const double done = work();
    end.record(*context.stream);
    end.synchronize();
    best = std::max(best, done / (1e-3 * end.milliseconds_since(begin)));
  }
  return best;
}

}  // namespace

CudaLimits measure_cuda_limits(Context& context) {
  require<Error>(gpu::built_for_gpu(), "limits of device cuda: this build has no GPU to measure");
  constexpr int kBlocksEach = 8, kSteps = 20'000;  // some 10 ms on an A100
  constexpr int64_t kCount = int64_t{256} << 20;   // 1 GiB an array: beyond any cache
  const int blocks = kBlocksEach * gpu::properties().multiprocessors;
  const DeviceMemory<float> sums(int64_t{blocks} * kLimitThreads), x(kCount), y(kCount);
  gpu::set(x.data(), 0, static_cast<size_t>(kCount) * sizeof(float), *context.stream);
  CudaLimits limits;
  limits.flops = best_rate(context, [&] { return fma_chains(sums.data(), blocks, kSteps, 0.5f, 1.0f, context); });
  limits.tf32_flops = best_rate(
      context, [&] { return product_chains(Precision::tf32, sums.data(), blocks, kSteps, 1.0f, 1.0f, context); });
  limits.bf16_flops = best_rate(
      context, [&] { return product_chains(Precision::bf16, sums.data(), blocks, kSteps, 1.0f, 1.0f, context); });
  limits.copy = best_rate(context, [&] { return copy_values(x.data(), y.data(), kCount, context); });
  return limits;
}

}  // namespace striate::bench
