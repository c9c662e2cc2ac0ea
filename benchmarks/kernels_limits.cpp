// The multiply–add peak, by the same Highway dispatch as the kernels: 12 independent chains on registers, enough to
// cover 4 cycles of latency on two units with some to spare. And the memory's limits: the copy with non-temporal stores
// is the one that kernels are measured by, because it is the fastest; an ordinary store moves a line twice, once to
// read what it will overwrite.
#include "benchmarks/kernels_limits.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "benchmarks/kernels_limits.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After highway.h, which decides the targets.
#include <hwy/cache_control.h>

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

/// Copies `count` floats from x to y, both on whole cache lines, or with y null only reads them; returns a value that
/// hangs on all that was read.
float move(const float* x, float* y, int64_t count, bool past_the_caches) {
  const hn::ScalableTag<float> tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  if (y == nullptr) {
    auto a = hn::Zero(tag), b = a, c = a, d = a;
    for (int64_t i = 0; i + 4 * lanes <= count; i += 4 * lanes) {
      a = hn::Add(a, hn::Load(tag, x + i));
      b = hn::Add(b, hn::Load(tag, x + i + lanes));
      c = hn::Add(c, hn::Load(tag, x + i + 2 * lanes));
      d = hn::Add(d, hn::Load(tag, x + i + 3 * lanes));
    }
    return hn::GetLane(hn::SumOfLanes(tag, hn::Add(hn::Add(a, b), hn::Add(c, d))));
  }
  if (past_the_caches) {
    for (int64_t i = 0; i + lanes <= count; i += lanes) hn::Stream(hn::Load(tag, x + i), tag, y + i);
    hwy::FlushStream();
  } else {
    for (int64_t i = 0; i + lanes <= count; i += lanes) hn::Store(hn::Load(tag, x + i), tag, y + i);
  }
  return y[count - 1];
}

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace striate::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::bench {

HWY_EXPORT(multiply_add);
HWY_EXPORT(move);
HWY_EXPORT(target_name);

namespace {

struct Free {
  void operator()(float* p) const { std::free(p); }
};

/// Two arrays of 256 MiB: beyond any cache but a few servers' with hundreds.
struct Arrays {
  static constexpr int64_t kCount = int64_t{64} << 20;
  std::unique_ptr<float[], Free> x{static_cast<float*>(std::aligned_alloc(64, kCount * sizeof(float)))};
  std::unique_ptr<float[], Free> y{static_cast<float*>(std::aligned_alloc(64, kCount * sizeof(float)))};
  Arrays() {
    if (!x || !y) throw std::bad_alloc();
    std::fill(x.get(), x.get() + kCount, 1.0f);
    std::fill(y.get(), y.get() + kCount, 1.0f);
  }
};

enum class Moves { copy, ordinary_copy, read };

/// Bytes a second, all threads together, of each of `passes` passes in rising order.
std::vector<double> move_rates(const Arrays& arrays, Moves moves, int passes, Context& context) {
  constexpr int64_t kLine = 16;  // floats
  const int64_t threads = context.threads->size(), each = Arrays::kCount / threads / kLine * kLine;
  const float* x = arrays.x.get();
  float* y = moves == Moves::read ? nullptr : arrays.y.get();
  std::vector<double> rates;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    context.threads->run(threads, [&](int64_t t) {
      float* to = y == nullptr ? nullptr : y + t * each;
      volatile float kept = HWY_DYNAMIC_DISPATCH(move)(x + t * each, to, each, moves == Moves::copy);
      static_cast<void>(kept);
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    rates.push_back((y == nullptr ? 4.0 : 8.0) * static_cast<double>(each * threads) / seconds);
  }
  std::sort(rates.begin(), rates.end());
  return rates;
}

}  // namespace

Limits measure_limits(Context& context) {
  constexpr int64_t kSteps = 5'000'000;  // some tens of milliseconds: longer than the clock's change of frequency
  Limits limits;
  limits.simd = HWY_DYNAMIC_DISPATCH(target_name)();
  const int threads = context.threads->size();
  std::vector<double> flops(static_cast<size_t>(threads));
  const auto best_rate = [&](const auto& multiply) {
    double best = 0.0;
    for (int repetition = 0; repetition < 7; ++repetition) {
      const auto start = std::chrono::steady_clock::now();
      context.threads->run(threads, [&](int64_t t) {
        float value = 0.5f;
        flops[static_cast<size_t>(t)] = multiply(kSteps, &value);
        if (value != value) flops[static_cast<size_t>(t)] = 0.0;
      });
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      double total = 0.0;
      for (const double f : flops) total += f;
      best = std::max(best, total / seconds);
    }
    return best;
  };
  limits.flops =
      best_rate([](int64_t steps, float* value) { return HWY_DYNAMIC_DISPATCH(multiply_add)(steps, value); });
  // As the kernels, which take them with AVX-512 alone (simd_target.h may have ruled it out).
  if (limits.simd == std::string_view(hwy::TargetName(HWY_AVX3))) limits.bf16_flops = best_rate(multiply_add_bf16);
  constexpr int kPasses = 9;
  const Arrays arrays;
  limits.ordinary_copy = move_rates(arrays, Moves::ordinary_copy, kPasses, context).back();
  limits.copy = std::max(limits.ordinary_copy, move_rates(arrays, Moves::copy, kPasses, context).back());
  limits.read = move_rates(arrays, Moves::read, kPasses, context).back();
  return limits;
}

double copy_rate_now(Context& context) {
  constexpr int kPasses = 5;
  static const Arrays arrays;
  return move_rates(arrays, Moves::copy, kPasses, context)[kPasses / 2];
}

}  // namespace striate::bench
#endif  // HWY_ONCE
