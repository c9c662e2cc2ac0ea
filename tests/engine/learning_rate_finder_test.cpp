#include "engine/train/learning_rate_finder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"
#include "tests/engine/train_toy.h"

namespace striate {
namespace {

using test::ToySource;

RateFinderOptions quiet() {
  RateFinderOptions finder;
  finder.handle_signals = false;
  return finder;
}

TEST(LearningRateFinder, RaisesTheRateAndSmoothsTheLoss) {
  ToySource source(50, 16, 1);
  const auto network = test::toy_network();
  int64_t seen = 0;
  const RateSearch search = find_learning_rate(*network, source, test::quick_options(), quiet(),
                                               [&](const RateTrial&, int64_t step) { EXPECT_EQ(step, ++seen); });
  ASSERT_GT(search.trials.size(), 70u);
  EXPECT_FALSE(search.interrupted);
  double smoothed = search.trials[0].loss, lowest = HUGE_VAL;
  for (size_t i = 0; i < search.trials.size(); ++i) {
    const RateTrial& trial = search.trials[i];
    EXPECT_NEAR(trial.rate, 1e-7 * std::pow(1e8, static_cast<double>(i) / 99.0), 1e-9 * trial.rate + 1e-20);
    if (i > 0) smoothed = 0.05 * trial.loss + 0.95 * smoothed;
    EXPECT_NEAR(trial.smoothed, smoothed, 1e-9 * smoothed);
    if (i + 1 < search.trials.size()) {
      EXPECT_LE(trial.smoothed, 5.0 * lowest) << "it would have stopped here";
    }
    lowest = std::min(lowest, trial.smoothed);
  }
  // At 1e-7 nothing moves; at 10 the toy's loss has left. What is suggested lies where training works.
  ASSERT_TRUE(search.suggestion.has_value());
  EXPECT_GT(*search.suggestion, 1e-3);
  EXPECT_LT(*search.suggestion, 5.0);
  EXPECT_LE(*search.suggestion, *search.lowest);
}

TEST(LearningRateFinder, GivesTheSameTwice) {
  const auto losses = [] {
    ToySource source(50, 16, 1);
    const auto network = test::toy_network();
    std::vector<double> values;
    for (const RateTrial& t : find_learning_rate(*network, source, test::quick_options(), quiet()).trials) {
      values.push_back(t.loss);
    }
    return values;
  };
  EXPECT_EQ(losses(), losses());
}

TEST(LearningRateFinder, StopsWhereTheLossLeaves) {
  ToySource source(64, 16, 1);
  const auto network = test::toy_network();
  RateFinderOptions finder = quiet();
  finder.to = 1e8;
  const RateSearch search = find_learning_rate(*network, source, test::quick_options(), finder);
  EXPECT_TRUE(search.diverged);
  EXPECT_LT(search.trials.size(), 100u);
  for (const RateTrial& trial : search.trials) EXPECT_TRUE(std::isfinite(trial.smoothed));
}

/// A smoothed loss that falls steepest, over the logarithm of the rate, at the middle of three slopes.
TEST(LearningRateFinder, SuggestsTheSteepestDescent) {
  RateSearch search;
  double loss = 3.0;
  for (int i = 0; i < 60; ++i) {
    search.trials.push_back({std::pow(10.0, -6.0 + 0.1 * i), loss, loss});
    loss += i < 20 ? -0.001 : i < 30 ? -0.1 : i < 40 ? -0.02 : 0.5;
  }
  suggest_rate(search, 5);
  ASSERT_TRUE(search.suggestion.has_value());
  EXPECT_GE(*search.suggestion, search.trials[20].rate);
  EXPECT_LE(*search.suggestion, search.trials[30].rate);
  EXPECT_EQ(*search.lowest, search.trials[40].rate);

  RateSearch rising;
  for (int i = 0; i < 20; ++i) rising.trials.push_back({std::pow(10.0, 0.1 * i), 1.0 + i, 1.0 + i});
  suggest_rate(rising, 5);
  EXPECT_FALSE(rising.suggestion.has_value()) << "a loss that never falls suggests nothing";
  RateSearch empty;
  suggest_rate(empty, 5);
  EXPECT_FALSE(empty.suggestion.has_value());
}

TEST(LearningRateFinder, AccumulatesAndRefusesNonsense) {
  ToySource source(50, 8, 1);
  const auto network = test::toy_network();
  TrainOptions options = test::quick_options();
  options.accumulate = 3;
  RateFinderOptions finder = quiet();
  finder.steps = 12;
  EXPECT_EQ(find_learning_rate(*network, source, options, finder).trials.size(), 12u);
  finder.from = 0.0;
  EXPECT_THROW(find_learning_rate(*network, source, options, finder), ConfigError);
  finder = quiet();
  finder.steps = 1;
  EXPECT_THROW(find_learning_rate(*network, source, options, finder), ConfigError);
}

}  // namespace
}  // namespace striate
