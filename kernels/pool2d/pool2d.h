#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/shapes.h"

namespace striate {

/// A max-pool's index where no pixel of the window gets a gradient.
constexpr uint8_t kNoPixel = 255;

// Pooling of NHWC images x [N,H,W,C] → y [N,P,Q,C], channel by channel. Windows may overlap (Krizhevsky et al. 2012,
// §3.4).
//
// max forward:   y = the window's maximum (padding never wins; NaN does), index [N,P,Q,C] = r·S + s of the first pixel
// in
//                row order that holds it.
//                With shape.after_relu, x is what a ReLU gave out, and index is kNoPixel where the maximum is not above
//                zero: so max backward's dx has been through the ReLU's backward too, at no cost.
// max backward:  dx[pixel] = Σ dy over the windows whose index names that pixel: a gather. dx is overwritten.
// avg forward:   y = Σ window / (R·S); padding counts as zeros (PyTorch's default).
// avg backward:  dx overwritten.
// adaptive:      see AdaptivePool2dShape.
//
// Outputs must not alias inputs. All throw ShapeError from the shape's own check().
// T is double (reference only), float or bfloat16. bfloat16 is storage: sums and functions are float's (the reference's
// double's), and a value is rounded where it is stored.
namespace reference {
template <typename T>
void max_pool2d_forward(const T* x, T* y, uint8_t* index, const Pool2dShape& shape, Context& context);
template <typename T>
void max_pool2d_backward(const T* dy, const uint8_t* index, T* dx, const Pool2dShape& shape, Context& context);
template <typename T>
void avg_pool2d_forward(const T* x, T* y, const Pool2dShape& shape, Context& context);
template <typename T>
void avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape& shape, Context& context);
template <typename T>
void adaptive_avg_pool2d_forward(const T* x, T* y, const AdaptivePool2dShape& shape, Context& context);
template <typename T>
void adaptive_avg_pool2d_backward(const T* dy, T* dx, const AdaptivePool2dShape& shape, Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void max_pool2d_forward(const T* x, T* y, uint8_t* index, const Pool2dShape& shape, Context& context);
template <typename T>
void max_pool2d_backward(const T* dy, const uint8_t* index, T* dx, const Pool2dShape& shape, Context& context);
template <typename T>
void avg_pool2d_forward(const T* x, T* y, const Pool2dShape& shape, Context& context);
template <typename T>
void avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape& shape, Context& context);
template <typename T>
void adaptive_avg_pool2d_forward(const T* x, T* y, const AdaptivePool2dShape& shape, Context& context);
template <typename T>
void adaptive_avg_pool2d_backward(const T* dy, T* dx, const AdaptivePool2dShape& shape, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void max_pool2d_forward(const T* x, T* y, uint8_t* index, const Pool2dShape& shape, Context& context);
template <typename T>
void max_pool2d_backward(const T* dy, const uint8_t* index, T* dx, const Pool2dShape& shape, Context& context);
template <typename T>
void avg_pool2d_forward(const T* x, T* y, const Pool2dShape& shape, Context& context);
template <typename T>
void avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape& shape, Context& context);
template <typename T>
void adaptive_avg_pool2d_forward(const T* x, T* y, const AdaptivePool2dShape& shape, Context& context);
template <typename T>
void adaptive_avg_pool2d_backward(const T* dy, T* dx, const AdaptivePool2dShape& shape, Context& context);
}  // namespace cuda

}  // namespace striate
