#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace striate {

/// The upper half of a float: 8 bits of exponent, 7 of fraction. For storage; arithmetic is float's.
struct bfloat16 {
  uint16_t bits = 0;
};

/// Exact.
constexpr float to_float(float x) { return x; }
constexpr float to_float(bfloat16 x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }

/// To nearest, ties to even; beyond the largest an infinity, subnormals kept, every NaN 0x7FFF (PTX ISA,
/// "cvt.rn.bf16x2"). Kernels on the GPU have an instruction for it (gpu/convert.h), with the same bits.
constexpr bfloat16 to_bfloat16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {0x7FFFu};
  return {static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
}

/// x as T has it in memory: float or bfloat16.
template <typename T>
constexpr T stored_as(float x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bfloat16(x);
  } else {
    return x;
  }
}

/// What stands beside activations of type T: biases, statistics, gradients of parameters. float for bfloat16, else T.
template <typename T>
using Parameter = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;

}  // namespace striate
