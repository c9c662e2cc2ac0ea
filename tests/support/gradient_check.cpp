#include "tests/support/gradient_check.h"

#include <cmath>

#include "tests/support/compare.h"

namespace striate::test {

testing::AssertionResult check_gradient(const std::function<double(const Values<double>&)>& f, Values<double> x,
                                        const Values<double>& gradient, const GradientCheck& options) {
  Values<double> numeric(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double saved = x[i];
    x[i] = saved + options.step;
    const double above = f(x);
    x[i] = saved - options.step;
    const double below = f(x);
    x[i] = saved;
    numeric[i] = (above - below) / (2 * options.step);
  }
  return all_close(gradient, numeric, Tolerance{options.absolute, options.relative});
}

double dot(const Values<double>& a, const Values<double>& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Values<double> step_round(Values<double> values, double kink, double distance) {
  for (double& v : values) {
    if (std::abs(v - kink) < distance) v = v < kink ? kink - distance : kink + distance;
  }
  return values;
}

}  // namespace striate::test
