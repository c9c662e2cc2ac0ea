#include "kernels/thread_pool.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/error.h"

namespace striate::test {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (const int64_t tasks : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> ran(static_cast<size_t>(tasks));
    pool.run(tasks, [&](int64_t task) { ++ran[static_cast<size_t>(task)]; });
    for (const auto& count : ran) EXPECT_EQ(count, 1);
  }
}

TEST_P(ThreadPoolTest, ParallelForCoversTheRangeInWholeGrains) {
  ThreadPool pool(GetParam());
  for (const int64_t n : {0, 1, 9, 10, 11, 95, 1000}) {
    std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
    pool.parallel_for(n, 10, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(begin % 10, 0);
      EXPECT_TRUE(end % 10 == 0 || end == n);
      EXPECT_LT(begin, end);
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
    });
    for (const auto& count : seen) EXPECT_EQ(count, 1);
  }
}

TEST_P(ThreadPoolTest, RethrowsTheFirstExceptionAndGoesOn) {
  ThreadPool pool(GetParam());
  const auto fail = [&] {
    pool.run(20, [](int64_t task) {
      if (task == 13) throw std::runtime_error("task 13");
    });
  };
  EXPECT_THROW(fail(), std::runtime_error);
  std::atomic<int> count = 0;
  pool.run(20, [&](int64_t) { ++count; });
  EXPECT_EQ(count, 20);
}

TEST_P(ThreadPoolTest, RunsALoopWithinATaskInline) {
  ThreadPool pool(GetParam());
  std::atomic<int> count = 0;
  pool.run(5, [&](int64_t) {
    const auto thread = std::this_thread::get_id();
    pool.run(7, [&](int64_t) {
      EXPECT_EQ(std::this_thread::get_id(), thread);
      ++count;
    });
  });
  EXPECT_EQ(count, 35);
}

TEST_P(ThreadPoolTest, SurvivesManyShortLoops) {
  ThreadPool pool(GetParam());
  int64_t sum = 0;
  for (int i = 0; i < 2000; ++i) {
    std::atomic<int64_t> loop = 0;
    pool.run(3, [&](int64_t task) { loop += task + 1; });
    sum += loop;
  }
  EXPECT_EQ(sum, 2000 * 6);
}

INSTANTIATE_TEST_SUITE_P(, ThreadPoolTest, testing::Values(1, 2, 3),
                         [](const auto& test) { return std::to_string(test.param) + "_threads"; });

// A sanitizer's own mappings fail under a limit of memory before a thread does.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(ThreadPoolDeathTest, SaysHowManyThreadsCouldBeStarted) {
  const auto start_too_many = [] {
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    const rlim_t room = rlim_t{64} << 20;  // a few stacks
    const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + room;
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_AS, &limit);
    try {
      ThreadPool pool(1000);
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(0);
    }
    std::_Exit(1);
  };
  EXPECT_EXIT(start_too_many(), testing::ExitedWithCode(0), "[0-9]+ of 1000 threads could be started");
}
#endif

TEST(ThreadPool, ZeroTakesTheCores) { EXPECT_GE(ThreadPool(0).size(), 1); }

}  // namespace
}  // namespace striate::test
