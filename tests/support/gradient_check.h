#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/visible_memory.h"

namespace striate::test {

struct GradientCheck {
  double step = 1e-5;  ///< error of the central difference ~ step², of rounding ~ 1e-16/step: both near 1e-10
  double absolute = 1e-7;
  double relative = 1e-6;
};

/// Compares `gradient` with central differences of the scalar `f` at `x`, element by element, in double. `f` must not
/// have a kink within `step` of x: choose x with distinct() or step_round().
testing::AssertionResult check_gradient(const std::function<double(const Values<double>&)>& f, Values<double> x,
                                        const Values<double>& gradient, const GradientCheck& options = {});

/// Σ a·b: turns an op's output into a scalar whose gradient with respect to the output is `b`.
double dot(const Values<double>& a, const Values<double>& b);

/// Moves every value that lies nearer than `distance` to `kink` to that distance from it.
Values<double> step_round(Values<double> values, double kink, double distance = 1e-3);

}  // namespace striate::test
