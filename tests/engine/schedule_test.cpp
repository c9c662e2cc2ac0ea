#include <gtest/gtest.h>

#include "engine/config.h"
#include "engine/optim/schedule.h"
#include "kernels/error.h"

namespace striate {
namespace {

ScheduleConfig parse(const std::string& text) { return ScheduleConfig::parse(ConfigReader::parse(text)); }
std::unique_ptr<Schedule> make(const std::string& text, double rate, int64_t epochs) {
  return make_schedule(parse(text), rate, epochs);
}

TEST(Schedule, Constant) {
  const auto s = make("", 0.01, 10);
  EXPECT_EQ(s->rate(1, 0, 5), 0.01);
  EXPECT_EQ(s->rate(10, 4, 5), 0.01);
}

TEST(Schedule, TableByEpoch) {
  const auto s = make("steps: {1: 0.01, 16: 0.001, 26: 0.0001}", 0.5, 30);
  EXPECT_EQ(s->rate(1, 0, 5), 0.01);
  EXPECT_EQ(s->rate(15, 4, 5), 0.01);
  EXPECT_EQ(s->rate(16, 0, 5), 0.001);
  EXPECT_EQ(s->rate(25, 4, 5), 0.001);
  EXPECT_EQ(s->rate(26, 0, 5), 0.0001);
  EXPECT_EQ(s->rate(1000, 0, 5), 0.0001);
  EXPECT_EQ(make("{name: steps, steps: {4: 0.1}}", 0.5, 30)->rate(3, 0, 5), 0.5);
}

TEST(Schedule, StepLr) {
  const auto s = make("{name: step, size: 3, gamma: 0.5}", 0.8, 10);
  EXPECT_DOUBLE_EQ(s->rate(3, 4, 5), 0.8);
  EXPECT_DOUBLE_EQ(s->rate(4, 0, 5), 0.4);
  EXPECT_DOUBLE_EQ(s->rate(7, 0, 5), 0.2);
}

TEST(Schedule, CosineWithWarmup) {
  const auto s = make("{name: cosine, warmup_epochs: 2, warmup_rate: 0.1, minimum_rate: 0.2}", 1.0, 10);
  EXPECT_DOUBLE_EQ(s->rate(1, 0, 4), 0.1);
  EXPECT_DOUBLE_EQ(s->rate(2, 0, 4), 0.55);
  EXPECT_DOUBLE_EQ(s->rate(2, 2, 4), 0.775);
  EXPECT_DOUBLE_EQ(s->rate(3, 0, 4), 1.0);
  EXPECT_DOUBLE_EQ(s->rate(7, 0, 4), 0.6);                    // halfway
  EXPECT_NEAR(s->rate(5, 0, 4), 0.88284271247461903, 1e-15);  // 0.2 + 0.8·(1 + cos(π/4))/2
  EXPECT_NEAR(s->rate(10, 3, 4), 0.2019265, 1e-6);
  EXPECT_DOUBLE_EQ(s->rate(11, 0, 4), 0.2);
}

TEST(Schedule, PlateauFollowsPyTorch) {
  const auto s = make("{name: plateau, factor: 0.5, patience: 1, minimum_rate: 0.3}", 1.0, 10);
  // Rates after each value, from torch.optim.lr_scheduler.ReduceLROnPlateau's rules.
  const std::vector<std::pair<double, double>> course = {{2.0, 1.0}, {1.0, 1.0}, {0.99995, 1.0}, {1.0, 0.5}, {0.5, 0.5},
                                                         {0.6, 0.5}, {0.6, 0.3}, {0.6, 0.3},     {0.6, 0.3}};
  for (const auto& [value, rate] : course) {
    s->observe(value);
    EXPECT_DOUBLE_EQ(s->rate(1, 0, 1), rate) << "after " << value;
  }
}

TEST(Schedule, PlateauStateGoesOver) {
  const std::string config = "{name: plateau, factor: 0.1, patience: 2}";
  const auto one = make(config, 1.0, 10);
  for (double value : {1.0, 2.0, 2.0}) one->observe(value);
  const auto other = make(config, 1.0, 10);
  other->load_state(one->state());
  other->observe(2.0);
  EXPECT_DOUBLE_EQ(other->rate(1, 0, 1), 0.1);
  EXPECT_THROW(other->load_state({1.0}), ConfigError);
}

TEST(Schedule, RefusesNonsense) {
  EXPECT_THROW(parse("{name: cosin}"), ConfigError);
  EXPECT_THROW(parse("{name: step, gama: 0.1}"), ConfigError);
  EXPECT_THROW(parse("steps: {0: 0.1}"), ConfigError);
  EXPECT_THROW(parse("steps: {one: 0.1}"), ConfigError);
  EXPECT_THROW(parse("steps: {1: -0.1}"), ConfigError);
  EXPECT_THROW(make("{name: steps}", 0.1, 10), ConfigError);
  EXPECT_THROW(make("{name: cosine, warmup_epochs: 10}", 0.1, 10), ConfigError);
  EXPECT_THROW(make("{name: cosine, minimum_rate: 0.5}", 0.1, 10), ConfigError);
  EXPECT_THROW(make("{name: plateau, factor: 2}", 0.1, 10), ConfigError);
  EXPECT_THROW(make("{name: step, size: 0}", 0.1, 10), ConfigError);
}

}  // namespace
}  // namespace striate
