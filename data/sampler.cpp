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
