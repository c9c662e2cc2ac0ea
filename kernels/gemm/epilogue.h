#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"

/// What is left to do after a product by the vendor's library. Apart from the kernels' own headers, so that sources
/// that are not for nvcc can ask for it.
namespace striate::cuda {

/// In place, y[r, c] = act(y[r, c] + bias[c]) over y [rows, columns], below 2^31 values; bias may be null. `activation`
/// must satisfy derivative_from_output().
template <typename T>
void finish_rows(T* y, const float* bias, Activation activation, int64_t rows, int64_t columns, Context& context);

/// sums[c] = Σ_r x[r, c] over x [rows, columns], or added to. In a fixed order, through the workspace.
template <typename T>
void sum_rows(const T* x, float* sums, int64_t rows, int64_t columns, Accumulate accumulate, Context& context);

}  // namespace striate::cuda
