#include "tests/support/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace striate::test {

namespace {
std::string element(size_t flat, const std::vector<int64_t>& shape) {
  if (shape.empty()) return fmt::format("[{}]", flat);
  std::vector<int64_t> index(shape.size());
  auto rest = static_cast<int64_t>(flat);
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = rest % shape[d];
    rest /= shape[d];
  }
  return fmt::format("[{}]", fmt::join(index, ","));
}
}  // namespace

testing::AssertionResult all_close(const std::vector<double>& actual, const std::vector<double>& expected,
                                   Tolerance tolerance, const std::vector<int64_t>& shape) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << actual.size() << " values, expected " << expected.size();
  }
  constexpr int kShown = 5;
  int64_t wrong = 0;
  size_t worst = 0;
  double worst_excess = -1.0;
  std::string shown;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = actual[i], b = expected[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double limit = tolerance.absolute + tolerance.relative * std::abs(b);
    const double error = std::abs(a - b);
    if (std::isfinite(b) && error <= limit) continue;
    const double excess = std::isfinite(error) ? error / std::max(limit, 1e-300) : INFINITY;
    if (excess > worst_excess) {
      worst_excess = excess;
      worst = i;
    }
    if (wrong++ < kShown) shown += fmt::format("\n  {}: {:.9g}, expected {:.9g}", element(i, shape), a, b);
  }
  if (wrong == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << fmt::format(
             "{} of {} values differ by more than {:g} + {:g}·|expected|; the worst at {}: {:.9g}, expected {:.9g} "
             "(difference {:.3g}); the first:{}",
             wrong, actual.size(), tolerance.absolute, tolerance.relative, element(worst, shape), actual[worst],
             expected[worst], actual[worst] - expected[worst], shown);
}

}  // namespace striate::test
