#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/context.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/shapes.h"

namespace striate::cpu {

/// Up to this many rows the weights' bytes, not the products, bound a linear layer: they are then streamed once, as
/// they lie, instead of packed for the register tile.
constexpr int64_t kFewRows = 8;

/// The products of linear.h for 1 ≤ N ≤ kFewRows; no checks.
void linear_forward_few_rows(const float* x, const float* w, const float* b, float* y, const LinearShape& shape,
                             Activation activation, Context& context);

/// Operands of a range of outputs of it.
struct FewRowsForward {
  const float* x;  ///< [N,C]
  const float* w;  ///< [K,C]
  float* y;        ///< [N,K]
  const float* bias;
  int64_t C, K;
};

/// Backward in one pass over the weights: of dx, dw, or the update and, where it is not null, dx.
struct FewRowsBackward {
  const float* x = nullptr;   ///< [N,C]; not read where only dx is wanted
  const float* dy = nullptr;  ///< [N,K]
  const float* w = nullptr;   ///< [K,C]; read for dx
  float* dx = nullptr;        ///< [N,C], overwritten; null where dw is wanted
  float* dw = nullptr;        ///< [K,C], overwritten or added to
  Accumulate accumulate = Accumulate::no;
  /// w moves by this rule with the gradient it would have found in dw, after dx is made of its old values.
  const UpdateRule* rule = nullptr;
  ParameterUpdate<float> update;  ///< of w; its g is not read
};
void linear_backward_few_rows(const FewRowsBackward& backward, const LinearShape& shape, Context& context);

/// What a range of rows of w needs of it; x and the sums of dx have rows `stride` floats apart.
struct FewRowsPart {
  const float* x;
  const float* dy;
  const float* w;
  float* dx;
  float* dw;
  const UpdateRule* rule;
  const ParameterUpdate<float>* update;
  int64_t C, K, stride;
  bool add;     ///< to dw
  bool stream;  ///< dw past the caches
};

}  // namespace striate::cpu
