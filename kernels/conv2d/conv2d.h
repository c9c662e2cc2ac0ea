#pragma once

#include <string>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/shapes.h"

namespace striate {

// Cross-correlation, as in every framework; x [N,H,W,C], w [K,R,S,C/groups], b [K] or null, y [N,P,Q,K].
// Output channel k of group g = k / (K/groups) sees input channels g·C/groups … (g+1)·C/groups − 1.
//
// forward:          y = act(b_k + Σ_{r,s,c} x[n, p·stride − pad + r·dilation, q·…, c]·w[k,r,s,c]); pixels outside are
// 0.
//                   `activation` must satisfy derivative_from_output(). y is overwritten and must not alias x, w or b.
// backward_data:    dx = ∂L/∂x from dy = ∂L/∂(pre-activation output). dx is overwritten.
//                   …_through_relu: and then dx = 0 where x ≤ 0, the backward pass of the ReLU that gave x. The same
//                   bits as activation_backward() after it.
// backward_weight:  dw = ∂L/∂w and, where db is not null, db[k] = Σ_{n,p,q} dy. Both overwritten or added to, as
//                   `accumulate` says.
//
// All throw ShapeError from Conv2dShape::check(). An empty batch gives an empty y, and zero gradients of the weights
// (nothing added with Accumulate::yes). Results are the same bits for every run with the same number of threads.
namespace reference {
template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    Activation activation, Context& context);
template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context);
template <typename T>
void conv2d_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const Conv2dShape& shape,
                                       Context& context);
template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& shape,
                            Accumulate accumulate, Context& context);
}  // namespace reference

/// T, the type of activations and weights, is float or bfloat16, whose products are summed in float32 and rounded once,
/// when stored; context.precision then says nothing. (The reference's T may be double, too.) Precision::bf16 is
/// bfloat16's: with it float is multiplied in fp32, by cpu whatever context.precision says.
/// On cpu, where an odd number of channels meets an even stride_w, bfloat16's NaN and infinity reach the outputs that
/// see the pixel to the left, too; Winograd's algorithm, where cpu takes it (winograd_choice.h), is float32's.
namespace cpu {
template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    Activation activation, Context& context);
template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context);
template <typename T>
void conv2d_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const Conv2dShape& shape,
                                       Context& context);
template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& shape,
                            Accumulate accumulate, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    Activation activation, Context& context);
template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context);
template <typename T>
void conv2d_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const Conv2dShape& shape,
                                       Context& context);
template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& shape,
                            Accumulate accumulate, Context& context);
}  // namespace cuda

/// By NVIDIA's library, for device cuda in a build for GPUs: the fallback and the yardstick. float32, or tf32, which
/// allows it to round the inputs, how is its own affair; for bf16 and for bfloat16 it throws ConfigError (its gradient
/// of such weights would be bfloat16, too).
namespace cudnn {
/// What this build lacks for it and what to do; empty where nothing is lacking. Then the functions throw ConfigError.
std::string missing();

template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    Activation activation, Context& context);
template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context);
template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& shape,
                            Accumulate accumulate, Context& context);
}  // namespace cudnn

}  // namespace striate
