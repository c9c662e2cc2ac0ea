#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/shapes.h"

namespace striate::cpu {

/// Up to this many rows the weights' bytes, not the products, bound a linear layer: they are then streamed once, as
/// they lie, instead of packed for the register tile.
constexpr int64_t kFewRows = 8;

/// The products of linear.h for 1 ≤ N ≤ kFewRows, of float and of bfloat16; no checks.
template <typename T>
void linear_forward_few_rows(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                             Activation activation, Context& context);

/// The values as floats.
void widen_bfloat16(const bfloat16* from, int64_t n, float* to);

/// Operands of a range of outputs of it, weights of type T.
template <typename T>
struct FewRowsForward {
  const float* x;  ///< [N,C]
  const T* w;      ///< [K,C]
  float* y;        ///< [N,K], before the activation
  const float* bias;
  int64_t C, K;
};

/// Backward in one pass over the weights: of dx, dw, or the update and, where it is not null, dx.
template <typename T>
struct FewRowsBackward {
  const T* x = nullptr;   ///< [N,C]; not read where only dx is wanted
  const T* dy = nullptr;  ///< [N,K]
  const T* w = nullptr;   ///< [K,C]; read for dx
  T* dx = nullptr;        ///< [N,C], overwritten; null where dw is wanted
  float* dw = nullptr;    ///< [K,C], overwritten or added to
  Accumulate accumulate = Accumulate::no;
  /// w moves by this rule with the gradient it would have found in dw, after dx is made of its old values.
  const UpdateRule* rule = nullptr;
  ParameterUpdate<float> update;  ///< of w; its g is not read
};
template <typename T>
void linear_backward_few_rows(const FewRowsBackward<T>& backward, const LinearShape& shape, Context& context);

/// What a range of rows of w needs of it; x and the sums of dx have rows `stride` floats apart.
template <typename T>
struct FewRowsPart {
  const float* x;
  const float* dy;
  const T* w;
  float* dx;
  float* dw;
  const UpdateRule* rule;
  const ParameterUpdate<float>* update;
  int64_t N, C, K, stride;
  bool add;     ///< to dw
  bool stream;  ///< dw past the caches
};

}  // namespace striate::cpu
