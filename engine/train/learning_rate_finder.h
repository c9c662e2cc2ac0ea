#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "engine/nn/module.h"
#include "engine/train/batch_source.h"
#include "engine/train/train_options.h"

namespace striate {

struct RateFinderOptions {
  double from = 1e-7, to = 10.0;
  int64_t steps = 100;       ///< optimizer steps, the rate multiplied by the same factor from each to the next
  double smoothing = 0.05;   ///< weight of a step's loss in the smoothed one; the first step's counts whole
  double diverged_at = 5.0;  ///< stops where the smoothed loss exceeds its lowest value times this
  int64_t skip_first = 5;  ///< steps that no suggestion is made from: the smoothed loss hangs on the first batch there
  bool handle_signals = true;  ///< Ctrl-C ends the search, which then suggests nothing
};

/// A step of the search.
struct RateTrial {
  double rate = 0.0, loss = 0.0, smoothed = 0.0;
};

struct RateSearch {
  std::vector<RateTrial> trials;
  bool diverged = false, interrupted = false;
  /// Where the smoothed loss falls steepest over the logarithm of the rate, and where it is lowest; nothing where it
  /// never falls.
  std::optional<double> suggestion, lowest;
};

/// The steepest descent of the trials' smoothed losses up to their lowest, by central differences.
void suggest_rate(RateSearch& search, int64_t skip_first);

/// Trains with a rate that rises exponentially, a step a rate, by `options`' optimizer, label smoothing, accumulation
/// and clipping (Smith 2017, arXiv:1506.01186), until the end or until the loss diverges or is not finite. The network
/// is of no use afterwards. `on_trial` sees every step. Throws ConfigError for options that make no sense.
RateSearch find_learning_rate(nn::Module& model, BatchSource& source, const TrainOptions& options,
                              const RateFinderOptions& finder = {},
                              const std::function<void(const RateTrial&, int64_t step)>& on_trial = {});

}  // namespace striate
