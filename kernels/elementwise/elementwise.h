#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/context.h"

namespace striate {

// fill:          y = value.
// scale:         y = factor·x. y may be x.
// add:           y = act(a + b): the residual sum of He et al. 2016 with its activation (derivative_from_output()
// only).
//                y may be a or b.
// accumulate:    y += x.
// normalize_u8:  y[row, c] = x[row, c]·scale[c] + shift[c], one fused multiply-add: images as they lie on disk to what
//                the network sees (scale = 1/(255·std), shift = −mean/std).
// float_to_bf16: y = x as bfloat16, the upper half of a float: to nearest, ties to even; beyond the largest an
//                infinity, subnormals kept, every NaN 0x7FFF (PTX ISA, "cvt.rn.bf16x2").
// bf16_to_float: y = x, exact: the same bits above sixteen zeros.
namespace reference {
template <typename T>
void fill(T* y, T value, int64_t n, Context& context);
template <typename T>
void scale(const T* x, T* y, T factor, int64_t n, Context& context);
template <typename T>
void add(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context);
template <typename T>
void accumulate(const T* x, T* y, int64_t n, Context& context);
template <typename T>
void normalize_u8(const uint8_t* x, T* y, const T* scale, const T* shift, int64_t rows, int64_t channels,
                  Context& context);
void float_to_bf16(const float* x, uint16_t* y, int64_t n, Context& context);
void bf16_to_float(const uint16_t* x, float* y, int64_t n, Context& context);
}  // namespace reference

namespace cpu {
void fill(float* y, float value, int64_t n, Context& context);
void scale(const float* x, float* y, float factor, int64_t n, Context& context);
void add(const float* a, const float* b, float* y, int64_t n, Activation activation, Context& context);
void accumulate(const float* x, float* y, int64_t n, Context& context);
void normalize_u8(const uint8_t* x, float* y, const float* scale, const float* shift, int64_t rows, int64_t channels,
                  Context& context);
void float_to_bf16(const float* x, uint16_t* y, int64_t n, Context& context);
void bf16_to_float(const uint16_t* x, float* y, int64_t n, Context& context);
}  // namespace cpu

namespace cuda {
void fill(float* y, float value, int64_t n, Context& context);
void scale(const float* x, float* y, float factor, int64_t n, Context& context);
void add(const float* a, const float* b, float* y, int64_t n, Activation activation, Context& context);
void accumulate(const float* x, float* y, int64_t n, Context& context);
void normalize_u8(const uint8_t* x, float* y, const float* scale, const float* shift, int64_t rows, int64_t channels,
                  Context& context);
void float_to_bf16(const float* x, uint16_t* y, int64_t n, Context& context);
void bf16_to_float(const uint16_t* x, float* y, int64_t n, Context& context);
}  // namespace cuda

}  // namespace striate
