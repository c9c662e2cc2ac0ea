#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace striate {

/// A permutation of [0, n) that hangs on (seed, epoch) alone (Fisher–Yates). Identity when `shuffle` is false.
std::vector<int64_t> epoch_order(int64_t n, bool shuffle, uint64_t seed, int64_t epoch);

/// The same over pictures that lie in runs: the permutation of `samples`, ascending indices into a dataset, that an
/// epoch goes through. With runs of 1 it is samples[epoch_order(…)]. Longer runs are shuffled, and the pictures of the
/// k-th come at random places among those of runs k to k + open − 1 (after the last run comes the first one), so that
/// no more than `open` + 1 runs are on hand at a time; it is a plain shuffle if there are not more than that.
std::vector<int64_t> shuffled_samples(std::span<const int64_t> samples, const PictureRuns& runs, uint64_t seed,
                                      int64_t epoch);

/// A seeded part of [0, n) for validation and the rest for training, both ascending.
struct ValidationSplit {
  std::vector<int64_t> train, validation;
};

/// round(n·fraction) samples go to validation. Throws ConfigError unless 0 ≤ fraction < 1 and both parts of a
/// fraction above 0 hold at least one sample.
ValidationSplit split_validation(int64_t n, double fraction, uint64_t seed);

}  // namespace striate
