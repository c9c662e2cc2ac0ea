#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/reference_values.h"

namespace striate::test {

struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

/// `|a − b| ≤ absolute + relative·|b|` for every element, b the expected value; NaN equals NaN, an infinity itself.
/// A failure names the worst element and the first few, by index into `shape` where one is given.
testing::AssertionResult all_close(const std::vector<double>& actual, const std::vector<double>& expected,
                                   Tolerance tolerance, const std::vector<int64_t>& shape = {});

/// The same for any two ranges (vector, GuardedBuffer) of any arithmetic types or bfloat16.
template <typename Actual, typename Expected>
testing::AssertionResult all_close(const Actual& actual, const Expected& expected, Tolerance tolerance,
                                   const std::vector<int64_t>& shape = {}) {
  const auto widen = [](const auto& range) {
    std::vector<double> values;
    values.reserve(static_cast<size_t>(range.size()));
    for (auto p = range.data(); p != range.data() + range.size(); ++p) values.push_back(reference::value_of(*p));
    return values;
  };
  return all_close(widen(actual), widen(expected), tolerance, shape);
}

/// The same bits.
template <typename Actual, typename Expected>
testing::AssertionResult all_equal(const Actual& actual, const Expected& expected,
                                   const std::vector<int64_t>& shape = {}) {
  return all_close(actual, expected, Tolerance{0.0, 0.0}, shape);
}

}  // namespace striate::test
