#pragma once

#include <string>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/dropout/dropout.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/shapes.h"

namespace striate {

// x [N,C], w [K,C], b [K] or null, y [N,K].
//
// forward:          y = act(x·wᵀ + b). `activation` must satisfy derivative_from_output(). y is overwritten and
//                   must not alias x, w or b.
//                   …_dropout: y is what dropout_forward() makes of that. The bits of the two passes in float; in
//                   bfloat16 rounded once on the reference and on cuda, and twice on cpu.
// backward_data:    dx = dy·w, dy = ∂L/∂(pre-activation output). dx is overwritten and must not alias dy.
//                   …_through_relu: and then dx = 0 where x ≤ 0 and divided by 1 − p elsewhere, the backward pass of
//                   the ReLU and the dropout of probability p behind it (0: none) that gave x. The same bits as
//                   relu_dropout_backward() after it, but that in bfloat16 the reference and cuda round once.
// backward_weight:  dw = dyᵀ·x, db = Σ_n dy where db is not null; overwritten or added to, as `accumulate` says.
//
// All throw ShapeError from LinearShape::check(). Same bits for every run with the same number of threads.
namespace reference {
template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context);
template <typename T>
void linear_forward_dropout(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                            Activation activation, const DropoutBehind& dropout, Context& context);
template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context);
template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape, float p,
                                       Context& context);
template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context);
}  // namespace reference

/// T, the type of activations and weights, is float or bfloat16, whose products are summed in float32 and rounded once,
/// when stored; context.precision then says nothing. (The reference's T may be double, too.) Precision::bf16 is
/// bfloat16's: with it float is multiplied in fp32, by cpu whatever context.precision says.
namespace cpu {
template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context);
template <typename T>
void linear_forward_dropout(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                            Activation activation, const DropoutBehind& dropout, Context& context);
template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context);
template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape, float p,
                                       Context& context);
template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context);

/// Whether linear_backward_update() serves such a layer.
bool linear_can_update(const LinearShape& shape, const Context& context);
/// backward_data where dx is not null, backward_weight for db where that is not null, and in place of dw the update of
/// the weights w.w [K,C] by `rule`: dx is made of the old weights, and the gradient never goes to memory (w.g is not
/// read). Where T is bfloat16 the old weights are those in w.rounded, which must not be null. Bit for bit what the
/// three passes give.
template <typename T>
void linear_backward_update(const T* x, const T* dy, T* dx, float* db, Accumulate accumulate, const LinearShape& shape,
                            const UpdateRule& rule, const ParameterUpdate<float>& w, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context);
template <typename T>
void linear_forward_dropout(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                            Activation activation, const DropoutBehind& dropout, Context& context);
template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context);
template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape, float p,
                                       Context& context);
template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context);
}  // namespace cuda

/// By NVIDIA's library, for device cuda: the fallback and the yardstick. tf32 allows it to round float's inputs, how is
/// its own affair. A y of bfloat16 is rounded once more where there is a bias or an activation. In a build that
/// is not for GPUs our own product answers it, rounding as cuda does.
namespace cublas {
/// What this build lacks for it and what to do; empty where nothing is lacking. Then the functions throw ConfigError.
std::string missing();

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context);
template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context);
template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context);
}  // namespace cublas

}  // namespace striate
