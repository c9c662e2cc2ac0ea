#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"

namespace striate {

// fill:          y = value.
// scale:         y = factor·x. y may be x.
// add:           y = act(a + b): the residual sum of He et al. 2016 with its activation (derivative_from_output()
// only).
//                y may be a or b.
// accumulate:    y += x.
// float_to_bf16: y = x as bfloat16, the upper half of a float: to nearest, ties to even; beyond the largest an
//                infinity, subnormals kept, every NaN 0x7FFF (PTX ISA, "cvt.rn.bf16x2").
// bf16_to_float: y = x, exact: the same bits above sixteen zeros.
// T is double (reference only), float or bfloat16. bfloat16 is storage: sums and functions are float's (the reference's
// double's), and a value is rounded where it is stored.
namespace reference {
template <typename T>
void fill(T* y, Parameter<T> value, int64_t n, Context& context);
template <typename T>
void scale(const T* x, T* y, Parameter<T> factor, int64_t n, Context& context);
template <typename T>
void add(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context);
template <typename T>
void accumulate(const T* x, T* y, int64_t n, Context& context);
void float_to_bf16(const float* x, bfloat16* y, int64_t n, Context& context);
void bf16_to_float(const bfloat16* x, float* y, int64_t n, Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void fill(T* y, Parameter<T> value, int64_t n, Context& context);
template <typename T>
void scale(const T* x, T* y, Parameter<T> factor, int64_t n, Context& context);
template <typename T>
void add(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context);
template <typename T>
void accumulate(const T* x, T* y, int64_t n, Context& context);
void float_to_bf16(const float* x, bfloat16* y, int64_t n, Context& context);
void bf16_to_float(const bfloat16* x, float* y, int64_t n, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void fill(T* y, Parameter<T> value, int64_t n, Context& context);
template <typename T>
void scale(const T* x, T* y, Parameter<T> factor, int64_t n, Context& context);
template <typename T>
void add(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context);
template <typename T>
void accumulate(const T* x, T* y, int64_t n, Context& context);
void float_to_bf16(const float* x, bfloat16* y, int64_t n, Context& context);
void bf16_to_float(const bfloat16* x, float* y, int64_t n, Context& context);
}  // namespace cuda

}  // namespace striate
