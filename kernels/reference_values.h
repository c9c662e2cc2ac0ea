#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/bfloat16.h"

// How the references read and write values of every type: they compute in double and round once.
namespace striate::reference {

template <typename T>
double value_of(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return double{to_float(x)};
  } else {
    return static_cast<double>(x);
  }
}

/// To nearest, ties to even.
template <typename T>
T rounded_to(double x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    // By way of a float rounded to odd, whose last bit stands for all that was cut off: no rounding of a rounding.
    const float nearest = static_cast<float>(x);
    auto bits = std::bit_cast<uint32_t>(nearest);
    if (bits % 2 == 0 && std::abs(double{nearest}) > std::abs(x)) --bits;
    if (bits % 2 == 0 && std::abs(double{nearest}) < std::abs(x)) ++bits;
    return to_bfloat16(std::bit_cast<float>(bits));
  } else {
    return static_cast<T>(x);
  }
}

}  // namespace striate::reference
