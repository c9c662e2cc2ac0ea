#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/gpu/platform.h"

// Conversions to the tensor cores' formats: TensorFloat-32 (8 bits of exponent, 10 of fraction, in the upper 19 bits of
// a word) and bfloat16 (8 and 7, in 16 bits). PTX ISA, "Data Movement and Conversion Instructions: cvt".
// Host code may call them too: it gets the same bits.

namespace striate::gpu {

/// x as tf32: to nearest, ties away from zero; beyond the largest tf32 an infinity; subnormals are kept; infinities and
/// NaNs only lose their lower 13 bits, so that a NaN with nothing above them becomes an infinity. (What ptxas makes of
/// it for sm_80 and sm_90: compare, add, mask.)
/// mma ignores the lower 13 bits of an operand, so a float given to it unconverted is cut off instead of rounded: twice
/// the error, and all of it towards zero.
__host__ __device__ __forceinline__ uint32_t to_tf32(float x) {
#if defined(__CUDA_ARCH__)
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(x));
  return result;
#else
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  // Half a unit of the last kept place; a carry runs into the exponent, up to infinity's, as rounding must.
  if ((bits & 0x7F800000u) != 0x7F800000u) bits += 0x1000u;
  return bits & 0xFFFFE000u;
#endif
}

/// The same for an operand of mma: the lower 13 bits, which mma ignores, are unspecified, and that saves an instruction
/// of three in a loop that has few to spare.
__host__ __device__ __forceinline__ uint32_t to_tf32_operand(float x) {
#if defined(__CUDA_ARCH__)
  const uint32_t bits = __float_as_uint(x);
  return fabsf(x) < __uint_as_float(0x7F800000u) ? bits + 0x1000u : bits;
#else
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return (bits & 0x7F800000u) != 0x7F800000u ? bits + 0x1000u : bits;
#endif
}

/// x as bfloat16: to nearest, ties to even; beyond the largest an infinity; NaN is 0x7FFF; subnormals are kept.
__host__ __device__ __forceinline__ uint16_t to_bf16(float x) {
#if defined(__CUDA_ARCH__)
  // The instruction for two runs on the arithmetic pipes, that for one only at the rate of a special function.
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(0.0f), "f"(x));
  return static_cast<uint16_t>(result);
#else
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFFu;
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
#endif
}

/// Two of them in a word: `high` in the upper half. Of neighbours in memory, `low` is the first.
__host__ __device__ __forceinline__ uint32_t to_bf16x2(float high, float low) {
#if defined(__CUDA_ARCH__)
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
#else
  return uint32_t{to_bf16(high)} << 16 | to_bf16(low);
#endif
}

/// Exact.
__host__ __device__ __forceinline__ float from_bf16(uint16_t x) {
  const uint32_t bits = uint32_t{x} << 16;
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
#endif
}

}  // namespace striate::gpu
