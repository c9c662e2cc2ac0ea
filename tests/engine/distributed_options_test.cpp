#include <gtest/gtest.h>

#include <cmath>

#include "engine/config.h"
#include "engine/train/train_options.h"
#include "kernels/error.h"
#include "tests/support/error.h"

namespace striate {
namespace {

DistributedOptions parse(const std::string& text) { return DistributedOptions::parse(ConfigReader::parse(text)); }

TEST(DistributedOptions, ReadsEveryKey) {
  const DistributedOptions o = parse(
      "{scheme: one_weird_trick, bucket_mb: 0.5, reduce: bf16, batch_norm: sync, rounds: 3, rate_scaling: linear}");
  EXPECT_EQ(o.scheme, Scheme::one_weird_trick);
  EXPECT_EQ(o.bucket_bytes, 1 << 19);
  EXPECT_EQ(o.reduce, WireType::bfloat16);
  EXPECT_TRUE(o.sync_batch_norm);
  EXPECT_EQ(o.rounds, 3);
  EXPECT_EQ(o.rate_scaling, RateScaling::linear);
  const DistributedOptions defaults = parse("");
  EXPECT_EQ(defaults.scheme, Scheme::none);
  EXPECT_EQ(defaults.bucket_bytes, 25 << 20);
  EXPECT_EQ(defaults.reduce, WireType::float32);
  EXPECT_FALSE(defaults.sync_batch_norm);
  EXPECT_EQ(defaults.rounds, 0);
  EXPECT_EQ(defaults.rate_scaling, RateScaling::none);
  EXPECT_EQ(parse("scheme: data").scheme, Scheme::data);
}

TEST(DistributedOptions, RefusesNonsenseAndNamesWhatIsNear) {
  for (const auto& [text, expected] : {std::pair{"scheme: date", "data"},
                                       {"shceme: data", "scheme"},
                                       {"bucket_mb: 0", "bucket_mb"},
                                       {"bucket_mb: 1e9", "bucket_mb"},
                                       {"reduce: fp16", "reduce"},
                                       {"batch_norm: synced", "sync"},
                                       {"rounds: -1", "rounds"},
                                       {"rate_scaling: lineal", "linear"}}) {
    EXPECT_TRUE(test::throws_with<ConfigError>([&] { parse(text); }, {expected})) << text;
  }
}

TEST(DistributedOptions, ScaleTheRateByTheRanks) {
  EXPECT_EQ(parse("").rate_factor(4), 1.0);
  EXPECT_EQ(parse("rate_scaling: linear").rate_factor(4), 4.0);
  EXPECT_EQ(parse("rate_scaling: sqrt").rate_factor(8), std::sqrt(8.0));
}

TEST(DistributedOptions, OnlyWhatChangesTheFunctionIsFixedForAResume) {
  TrainOptions plain, divided;
  divided.distributed = parse("{scheme: one_weird_trick, bucket_mb: 1, reduce: bf16, rounds: 1}");
  EXPECT_EQ(divided.fixed_by_resume(), plain.fixed_by_resume());
  divided.distributed = parse("{scheme: data, batch_norm: sync, rate_scaling: sqrt}");
  EXPECT_EQ(differing_options(plain.fixed_by_resume(), divided.fixed_by_resume()),
            "\n  distributed.batch_norm: absent in the run, sync now"
            "\n  distributed.rate_scaling: absent in the run, sqrt now");
}

}  // namespace
}  // namespace striate
