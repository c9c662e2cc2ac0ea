#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/context.h"
#include "kernels/shapes.h"

namespace striate::cpu {

/// Up to this many rows the weights' bytes, not the products, bound a linear layer: they are then streamed once, as
/// they lie, instead of packed for the register tile.
constexpr int64_t kFewRows = 8;

/// The three products of linear.h for 1 ≤ N ≤ kFewRows; no checks. dw is overwritten or added to.
void linear_forward_few_rows(const float* x, const float* w, const float* b, float* y, const LinearShape& shape,
                             Activation activation, Context& context);
void linear_backward_data_few_rows(const float* dy, const float* w, float* dx, const LinearShape& shape,
                                   Context& context);
void linear_backward_weight_few_rows(const float* x, const float* dy, float* dw, const LinearShape& shape,
                                     Accumulate accumulate, Context& context);

/// Operands of a range of one of them: outputs [begin, end), for backward_data columns of dx.
struct FewRows {
  const float* x;  ///< forward, backward_weight: x [N,C]; backward_data: dy [N,K]
  const float* w;  ///< forward, backward_data: w [K,C]; backward_weight: dy [N,K]
  float* out;
  const float* bias;
  int64_t C, K;
  bool add;
};

}  // namespace striate::cpu
