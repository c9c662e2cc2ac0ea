#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/temp_dir.h"

namespace striate::test {
namespace {

TEST(GuardedBuffer, NoticesWritesPastEitherEnd) {
  GuardedBuffer<float> buffer(5);
  EXPECT_TRUE(std::isnan(buffer[0]) && std::isnan(buffer[4]));
  EXPECT_TRUE(buffer.intact());
  float* p = buffer.data();
  const float saved = p[5];
  p[5] = 1.0f;
  EXPECT_FALSE(buffer.intact());
  p[5] = saved;
  p[-1] = 1.0f;
  EXPECT_FALSE(buffer.intact());
}

TEST(AllClose, NamesTheWorstElementByItsIndex) {
  const Values<double> expected = {1, 2, 3, 4, 5, 6};
  Values<float> actual = {1, 2, 3, 4, 5, 6};
  EXPECT_TRUE(all_equal(actual, expected));
  actual[1] = 2.01f;
  actual[5] = 7;
  EXPECT_TRUE(all_close(actual, expected, {0.0, 0.2}));
  const auto result = all_close(actual, expected, {1e-3, 0.0}, {2, 3});
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("2 of 6"), std::string::npos) << result.message();
  EXPECT_NE(std::string(result.message()).find("worst at [1,2]"), std::string::npos) << result.message();
}

TEST(AllClose, NanEqualsOnlyNanAndInfinityOnlyItself) {
  const Values<double> nan = {NAN}, one = {1.0}, inf = {INFINITY}, two = {1.0, 1.0};
  EXPECT_TRUE(all_equal(nan, nan));
  EXPECT_FALSE(all_close(nan, one, {1e9, 1e9}));
  EXPECT_FALSE(all_close(one, nan, {1e9, 1e9}));
  EXPECT_TRUE(all_equal(inf, inf));
  EXPECT_FALSE(all_close(one, inf, {1.0, 1.0}));
  EXPECT_FALSE(all_equal(one, two));
}

TEST(Fill, DistinctValuesStayApartAndAwayFromZero) {
  for (const int64_t n : {1, 2, 7, 64}) {
    const auto values = distinct<double>(n, 3);
    const std::set<double> sorted(values.begin(), values.end());
    ASSERT_EQ(sorted.size(), static_cast<size_t>(n));
    const double spacing = 2.0 / static_cast<double>(n + 1);
    double last = -2.0;
    for (const double v : sorted) {
      EXPECT_GT(v - last, 0.99 * spacing);
      EXPECT_GT(std::abs(v), 0.49 * spacing);
      EXPECT_LT(std::abs(v), 1.0);
      last = v;
    }
  }
}

TEST(Fill, SmallIntegersCoverTheirRange) {
  const auto values = small_integers<int>(1000, 1, -2, 3);
  const std::set<int> seen(values.begin(), values.end());
  EXPECT_EQ(seen, (std::set<int>{-2, -1, 0, 1, 2, 3}));
}

TEST(CheckGradient, AcceptsTheRightGradientAndRefusesAWrongOne) {
  const auto f = [](const Values<double>& x) { return x[0] * x[0] * x[1] + std::sin(x[1]); };
  const Values<double> x = {0.7, -1.3};
  EXPECT_TRUE(check_gradient(f, x, {2 * 0.7 * -1.3, 0.49 + std::cos(-1.3)}));
  EXPECT_FALSE(check_gradient(f, x, {2 * 0.7 * -1.3, 0.49 + std::cos(-1.3) + 1e-4}));
}

TEST(StepRound, MovesValuesOffTheKink) {
  EXPECT_EQ(step_round({-0.0001, 0.0001, 0.5}, 0.0), (Values<double>{-1e-3, 1e-3, 0.5}));
}

TEST(TempDir, GoesAwayWithItsContents) {
  std::filesystem::path path;
  {
    const TempDir dir;
    path = dir.path();
    std::ofstream(dir / "file") << "x";
    EXPECT_TRUE(std::filesystem::exists(path / "file"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace striate::test
