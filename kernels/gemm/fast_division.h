#pragma once

#include <cstdint>

#include "kernels/gpu/platform.h"

namespace striate::tile {

/// Division of 0 ≤ n < 2^31 by a fixed d, 1 ≤ d < 2^31, as a multiplication and a shift.
/// With L = ⌈log2 d⌉ and m = ⌈2^(31+L)/d⌉ = (2^(31+L) + e)/d, 0 ≤ e < d ≤ 2^L: n·m/2^(31+L) exceeds n/d by
/// n·e/(d·2^(31+L)) < 1/d, too little to reach the next integer; m fits into 32 bits.
/// (Granlund & Montgomery 1994, "Division by Invariant Integers using Multiplication".)
struct FastDivision {
  FastDivision() = default;
  explicit FastDivision(int64_t d) : divisor(static_cast<int>(d)) {
    while ((int64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<unsigned>(((uint64_t{1} << (31 + shift)) + static_cast<uint64_t>(d) - 1) /
                                       static_cast<uint64_t>(d));
  }

  __device__ __forceinline__ int quotient(int n) const {
    return static_cast<int>(__umulhi(static_cast<unsigned>(n) * 2u, multiplier) >> shift);
  }
  /// n = quotient·divisor + remainder.
  __device__ __forceinline__ int divide(int n, int& remainder) const {
    const int q = quotient(n);
    remainder = n - q * divisor;
    return q;
  }

  unsigned multiplier = 1u << 31, shift = 0;
  int divisor = 1;
};

}  // namespace striate::tile
