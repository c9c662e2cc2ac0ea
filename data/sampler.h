#pragma once

#include <cstdint>
#include <vector>

namespace striate {

/// A permutation of [0, n) that hangs on (seed, epoch) alone (Fisher–Yates). Identity when `shuffle` is false.
std::vector<int64_t> epoch_order(int64_t n, bool shuffle, uint64_t seed, int64_t epoch);

/// A seeded part of [0, n) for validation and the rest for training, both ascending.
struct ValidationSplit {
  std::vector<int64_t> train, validation;
};

/// round(n·fraction) samples go to validation. Throws ConfigError unless 0 ≤ fraction < 1 and both parts of a
/// fraction above 0 hold at least one sample.
ValidationSplit split_validation(int64_t n, double fraction, uint64_t seed);

}  // namespace striate
