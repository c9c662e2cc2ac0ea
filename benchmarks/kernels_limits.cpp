// The multiply–add peak, by the same Highway dispatch as the kernels: 12 independent chains on registers, enough to
// cover 4 cycles of latency on two units with some to spare.
#include "benchmarks/kernels_limits.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "benchmarks/kernels_limits.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace striate::bench::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Runs `steps` steps of 12 chains; returns the flops done. `*result` keeps the compiler from dropping them.
double multiply_add(int64_t steps, float* result) {
  constexpr int kChains = 12;
  const hn::ScalableTag<float> tag;
  using Vector = hn::Vec<decltype(tag)>;
  const Vector factor = hn::Set(tag, *result), term = hn::Set(tag, 1e-3f);
  Vector chain[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) chain[i] = hn::Set(tag, 0.1f * static_cast<float>(i));
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) chain[i] = hn::MulAdd(chain[i], factor, term);
  }
  Vector sum = hn::Zero(tag);
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) sum = hn::Add(sum, chain[i]);
  *result = hn::GetLane(sum);
  return 2.0 * kChains * static_cast<double>(hn::Lanes(tag)) * static_cast<double>(steps);
}

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace striate::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::bench {

HWY_EXPORT(multiply_add);
HWY_EXPORT(target_name);

Limits measure_limits(Context& context) {
  constexpr int64_t kSteps = 5'000'000;  // some tens of milliseconds: longer than the clock's change of frequency
  Limits limits;
  limits.simd = HWY_DYNAMIC_DISPATCH(target_name)();
  const int threads = context.threads->size();
  std::vector<double> flops(static_cast<size_t>(threads));
  for (int repetition = 0; repetition < 7; ++repetition) {
    const auto start = std::chrono::steady_clock::now();
    context.threads->run(threads, [&](int64_t t) {
      float value = 0.5f;
      flops[static_cast<size_t>(t)] = HWY_DYNAMIC_DISPATCH(multiply_add)(kSteps, &value);
      if (value != value) flops[static_cast<size_t>(t)] = 0.0;
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    double total = 0.0;
    for (const double f : flops) total += f;
    limits.flops = std::max(limits.flops, total / seconds);
  }
  return limits;
}

}  // namespace striate::bench
#endif  // HWY_ONCE
