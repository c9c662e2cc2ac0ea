#include "data/datasets/hdf5/run_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "data/sampler.h"
#include "kernels/error.h"
#include "tests/support/error.h"

namespace striate {
namespace {

TEST(RunCache, ShuffledEpochsUnpackEveryRunOnce) {
  constexpr int64_t kRuns = 60, kOpen = 5;
  for (const int64_t length : {2, 40}) {
    std::vector<int64_t> samples(static_cast<size_t>(kRuns * length));
    std::iota(samples.begin(), samples.end(), int64_t{0});
    const auto order = shuffled_samples(samples, {.length = length, .open = kOpen}, 1, 0);
    RunCache cache(2 * kOpen + 2);  // runs of one byte
    std::atomic<int> unpacked{0}, wrong{0};
    std::atomic<size_t> next{0};
    const auto read = [&] {
      for (size_t i = next++; i < order.size(); i = next++) {
        const int64_t run = order[i] / length;
        const auto bytes = cache.get(run, 1, [&](RunCache::Bytes& out) {
          ++unpacked;
          out[0] = static_cast<uint8_t>(run);
        });
        wrong += bytes->front() == run ? 0 : 1;
      }
    };
    std::thread one(read), two(read);
    one.join();
    two.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_GE(unpacked, kRuns);
    EXPECT_LE(unpacked, kRuns + kOpen) << "those that lie across the epoch's ends come twice";
  }
}

TEST(RunCache, ADamagedRunFailsForAll) {
  RunCache cache(10);
  int tries = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(test::throws_with<IoError>(
        [&] {
          cache.get(4, 1, [&](RunCache::Bytes&) {
            ++tries;
            throw IoError("damaged");
          });
        },
        {"damaged"}));
  }
  EXPECT_EQ(tries, 1);
}

}  // namespace
}  // namespace striate
