#pragma once

#include "kernels/conv2d/conv2d.h"

/// Winograd's convolution F(4×4, 3×3) and F(4×4, 5×5): 36 products for 144 and 64 for 400, at the price of transforms
/// that only add. The contract is conv2d.h's, but for two things.
/// Rounding: against double the largest error was at most 1.2e-5 of the largest value, for direct sums 2.3e-6.
/// NaN and infinity spread from a pixel to all outputs of the tiles that see it, some of which may be the next image's.
namespace striate::cpu::winograd {

/// What the functions take: square kernels of 3 or 5 taps at unit steps, one group, padding below the kernel's size.
bool fits(const Conv2dShape& shape);

/// Whether they are faster than the direct sums.
bool forward_pays(const Conv2dShape& shape);
bool backward_data_pays(const Conv2dShape& shape);
bool backward_weight_pays(const Conv2dShape& shape);

// For float and bfloat16: the transforms and the products are float32 in any case.
template <typename T>
void forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape, Activation activation,
             Context& context);

// The forward direction a few images at a time, by weights that are transformed and packed once. `shape` is that of
// the whole batch, whose bits these are, if x and y begin with one of its mosaics and hold whole ones, or the last.
/// Whether forward() does as well, not panel by panel.
bool forward_by_tiles(const Conv2dShape& shape, const Context& context);
int64_t mosaic_images(const Conv2dShape& shape);
/// Floats that pack() writes, and that it and forward_packed() of so many images take of the workspace.
template <typename T>
int64_t packed_floats(const Conv2dShape& shape);
template <typename T>
int64_t scratch_floats(const Conv2dShape& shape, int64_t images, const Context& context);
template <typename T>
void pack(const T* w, const Conv2dShape& shape, float* to, Context& context);
template <typename T>
void forward_packed(const T* x, const float* packed, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    int64_t images, Activation activation, Context& context);

template <typename T>
void backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context);
/// The batch must not be empty.
template <typename T>
void backward_weight(const T* x, const T* dy, Parameter<T>* dw, const Conv2dShape& shape, Accumulate accumulate,
                     Context& context);

}  // namespace striate::cpu::winograd
