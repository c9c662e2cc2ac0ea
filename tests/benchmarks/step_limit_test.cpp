#include "benchmarks/step_limit.h"

#include <gtest/gtest.h>

namespace striate::bench {
namespace {

models::LayerSummary layer(int64_t parameters, int64_t macs) {
  models::LayerSummary l;
  l.parameters = parameters;
  l.macs = macs;
  return l;
}

TEST(StepLimit, TakesTheLongerOfArithmeticAndWeights) {
  models::ModelSummary summary;
  summary.layers = {layer(10, 1000), layer(0, 0), layer(500, 500)};
  const MachineLimit arithmetic{1e3, 1e12}, memory{1e12, 1e3};
  EXPECT_DOUBLE_EQ(step_limit_seconds(summary, 4, false, arithmetic), 2.0 * 4 * 1500 / 1e3);
  // The first layer's data gradient is not needed.
  EXPECT_DOUBLE_EQ(step_limit_seconds(summary, 4, true, arithmetic), 2.0 * 4 * (2 * 1000 + 3 * 500) / 1e3);
  EXPECT_DOUBLE_EQ(step_limit_seconds(summary, 4, false, memory), 4.0 * 510 / 1e3) << "a weight is read once";
  EXPECT_DOUBLE_EQ(step_limit_seconds(summary, 4, true, memory), 20.0 * 510 / 1e3)
      << "read, then read and written with its momentum";
  // Each layer by itself: 8·1000/8e3 of the first's arithmetic, 4·500/1e3 of the last's weights.
  EXPECT_DOUBLE_EQ(step_limit_seconds(summary, 4, false, {8e3, 1e3}), 1.0 + 2.0);
}

}  // namespace
}  // namespace striate::bench
