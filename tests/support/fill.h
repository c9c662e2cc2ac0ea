#pragma once

#include <cstdint>
#include <utility>

#include "kernels/philox.h"
#include "kernels/reference_values.h"
#include "tests/support/visible_memory.h"

namespace striate::test {

/// The i-th word of the stream `seed`.
constexpr uint32_t random_word(uint32_t seed, uint64_t i) {
  const uint64_t block = i / 4;
  return philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}, {seed, 0x7e57})[i % 4];
}

/// `count` values uniform in [low, high). A float and a double fill of the same seed agree to float rounding.
template <typename T>
Values<T> uniform(int64_t count, uint32_t seed, double low = -1.0, double high = 1.0) {
  Values<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = reference::rounded_to<T>(low + (high - low) * uniform_from_word(random_word(seed, i)));
  }
  return values;
}

/// `count` integers in [low, high]: products and sums of them are exact in float, so a result can be compared bit by
/// bit whatever the order of summation.
template <typename T>
Values<T> small_integers(int64_t count, uint32_t seed, int64_t low = -3, int64_t high = 3) {
  Values<T> values(static_cast<size_t>(count));
  const auto span = static_cast<uint64_t>(high - low + 1);
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t value = low + static_cast<int64_t>((uint64_t{random_word(seed, i)} * span) >> 32);
    values[i] = reference::rounded_to<T>(static_cast<double>(value));
  }
  return values;
}

/// `count` values in (−1, 1), shuffled, any two at least 2/(count + 1) apart and none nearer to 0 than half that: a
/// finite difference with a smaller step meets no kink of max or ReLU.
template <typename T>
Values<T> distinct(int64_t count, uint32_t seed) {
  Values<T> values(static_cast<size_t>(count));
  const double spacing = 2.0 / static_cast<double>(count + 1);
  for (int64_t i = 0; i < count; ++i) {
    // An even count straddles 0 by itself; an odd one is moved by half a spacing.
    values[static_cast<size_t>(i)] = reference::rounded_to<T>(
        (static_cast<double>(i) - static_cast<double>(count - 1) / 2) * spacing + (count % 2 == 1 ? spacing / 2 : 0));
  }
  for (size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[(uint64_t{random_word(seed, i)} * i) >> 32]);
  }
  return values;
}

/// The same values in another type, rounded to it where need be.
template <typename To>
Values<To> as(const auto& values) {
  Values<To> result;
  result.reserve(values.size());
  for (const auto v : values) result.push_back(reference::rounded_to<To>(reference::value_of(v)));
  return result;
}

}  // namespace striate::test
