#include "data/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/random.h"
#include "kernels/error.h"

namespace striate {
namespace {

std::vector<int64_t> in_order(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

std::vector<int64_t> shuffled(int64_t n, Random random) {
  auto order = in_order(n);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[random.below(static_cast<uint64_t>(i) + 1)]);
  return order;
}

}  // namespace

std::vector<int64_t> epoch_order(int64_t n, bool shuffle, uint64_t seed, int64_t epoch) {
  return shuffle ? shuffled(n, Random(seed, RandomPurpose::shuffle, static_cast<uint64_t>(epoch))) : in_order(n);
}

std::vector<int64_t> shuffled_samples(std::span<const int64_t> samples, const PictureRuns& runs, uint64_t seed,
                                      int64_t epoch) {
  const int64_t n = static_cast<int64_t>(samples.size());
  std::vector<int64_t> first_of;  // in `samples`, of each run that has any
  for (int64_t i = 0; i < n && runs.length > 1; ++i) {
    if (i == 0 || samples[i] / runs.length != samples[i - 1] / runs.length) first_of.push_back(i);
  }
  const int64_t count = static_cast<int64_t>(first_of.size());
  std::vector<int64_t> order;
  order.reserve(samples.size());
  if (count <= runs.open + 1) {
    for (const int64_t place : epoch_order(n, true, seed, epoch)) order.push_back(samples[place]);
    return order;
  }
  first_of.push_back(n);
  Random random(seed, RandomPurpose::shuffle, static_cast<uint64_t>(epoch));
  const auto run_order = shuffled(count, random);
  random.start_at(uint32_t{1} << 31);  // past what the run order has drawn
  // Time is counted in 2²⁰ ticks a run.
  constexpr int64_t kTicks = int64_t{1} << 20;
  std::vector<std::pair<int64_t, int64_t>> times;
  times.reserve(samples.size());
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t i = first_of[run_order[k]]; i < first_of[run_order[k] + 1]; ++i) {
      const auto later = static_cast<int64_t>(random.below(static_cast<uint64_t>(runs.open * kTicks)));
      times.emplace_back((k * kTicks + later) % (count * kTicks), samples[i]);
    }
  }
  std::sort(times.begin(), times.end());
  for (const auto& [time, sample] : times) order.push_back(sample);
  return order;
}

ValidationSplit split_validation(int64_t n, double fraction, uint64_t seed) {
  require<ConfigError>(fraction >= 0.0 && fraction < 1.0,
                       "data.validation_fraction: expected a number in [0, 1), found {}", fraction);
  ValidationSplit split;
  if (fraction == 0.0) {
    split.train = in_order(n);
    return split;
  }
  const int64_t held_out = std::llround(static_cast<double>(n) * fraction);
  require<ConfigError>(held_out > 0 && held_out < n,
                       "data.validation_fraction: {} of {} training images leaves {} for validation and {} for "
                       "training; both need at least one",
                       fraction, n, held_out, n - held_out);
  auto order = shuffled(n, Random(seed, RandomPurpose::split));
  split.validation.assign(order.begin(), order.begin() + held_out);
  split.train.assign(order.begin() + held_out, order.end());
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.train.begin(), split.train.end());
  return split;
}

}  // namespace striate
