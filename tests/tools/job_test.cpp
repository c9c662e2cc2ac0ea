#include "tools/job.h"

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace striate {
namespace {

const std::vector<std::string> kNames = {"rank 0 on a", "rank 1 on b", "rank 2 on b"};

TEST(Job, AnErrorThatAllRanksHaveIsToldOnceAndWithoutThem) {
  EXPECT_EQ(told_once({"no such key", "no such key", "no such key"}, kNames), "no such key");
}

TEST(Job, AnErrorOfSomeRanksNamesThem) {
  EXPECT_EQ(told_once({"", "no data", "no data"}, kNames), "rank 1 on b, rank 2 on b: no data");
  EXPECT_EQ(told_once({"", "no data", "no space"}, kNames), "rank 1 on b: no data\nrank 2 on b: no space");
}

TEST(Job, RanksThatDifferAreNamedWithKeyAndValues) {
  EXPECT_EQ(disagreement({"seed=1\n", "seed=1\n", "seed=1\n"}, kNames), "");
  EXPECT_EQ(disagreement({"classes=10\nseed=1\n", "classes=10\nseed=1\n", "classes=10\nseed=a=b\n"}, kNames),
            "rank 2 on b differs from rank 0 on a in seed: a=b, not 1; all ranks need the same configuration, data and "
            "build");
  EXPECT_EQ(disagreement({"classes=10\n", "train.epochs=1\n", "classes=10\n"}, kNames),
            "rank 1 on b differs from rank 0 on a in classes: absent, not 10; train.epochs: 1, not absent; all ranks "
            "need the same configuration, data and build");
}

TEST(Job, CoresAreDividedAmongTheRanksThatShareThem) {
  EXPECT_EQ(divided_cores({"a 0 1 2 3 4", "a 0 1 2 3 4", "b 0 1"}, {5, 5, 2}), (std::vector<int64_t>{2, 3, 2}));
  EXPECT_EQ(divided_cores({"a 0", "a 1"}, {1, 1}), (std::vector<int64_t>{1, 1})) << "bound by mpirun";
  EXPECT_EQ(divided_cores({"a 0 1", "a 0 1", "a 0 1"}, {2, 2, 2}), (std::vector<int64_t>{1, 1, 1}))
      << "more ranks than cores";
}

TEST(Job, OneProcessAloneIsItsOwnLeaderAndThrowsAsAlways) {
  Job job("train");
  EXPECT_TRUE(job.leads());
  EXPECT_EQ(job.size(), 1);
  EXPECT_EQ(job.together([] { return 7; }), 7);
  EXPECT_THROW(job.together([] { throw ConfigError("no"); }), ConfigError);
  EXPECT_EQ(job.threads(0), 0);
  EXPECT_EQ(job.of_rank_0("a"), "a");
}

}  // namespace
}  // namespace striate
