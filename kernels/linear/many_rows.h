#pragma once

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/shapes.h"

namespace striate::cpu {

// The products of linear.h for more rows than kFewRows; no checks, no db.
template <typename T>
void linear_forward_many_rows(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                              Activation activation, Context& context);
/// Whether it takes these weights: floats, or bfloat16 where the CPU multiplies them and rows consist of cells.
template <typename T>
bool takes_weights_in_place(const T* w, const LinearShape& shape);
void linear_backward_data_many_rows(const float* dy, const float* w, float* dx, const LinearShape& shape,
                                    Context& context);

/// A tile of dw sums over the whole batch at once: its part of x is then still in the L2 cache.
constexpr int64_t kMostGradientRows = 512;

/// For N ≤ kMostGradientRows. Where `rule` is not null the weights move by it and dw is not written.
void linear_backward_weight_many_rows(const float* x, const float* dy, float* dw, const LinearShape& shape,
                                      Accumulate accumulate, const UpdateRule* rule,
                                      const ParameterUpdate<float>& update, Context& context);

/// The same update by the gradient of bfloat16.
void linear_update_in_bf16(const bfloat16* x, const bfloat16* dy, const LinearShape& shape, const UpdateRule& rule,
                           const ParameterUpdate<float>& update, Context& context);

}  // namespace striate::cpu
