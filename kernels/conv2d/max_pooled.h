#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/shapes.h"

/// A convolution of whose output nothing but a max-pool's y and index is wanted. On cpu alone: what a GPU would save of
/// memory traffic it would pay for in products where windows overlap (docs/kernels.md).
namespace striate::cpu {

/// y, index [N,P,Q,K] = max-pool of act(conv(x, w) + b): the bits of conv2d_forward() and max_pool2d_forward() one
/// after the other. The convolution's output is never whole in memory: threads pool their images while these are in
/// their caches. `activation` must satisfy derivative_from_output(). Outputs must not alias inputs.
/// Throws ShapeError from the shapes' own check(), where `pool` does not take what `conv` gives, and where
/// conv2d_max_pool_pays() says no.
template <typename T>
void conv2d_max_pool_forward(const T* x, const T* w, const Parameter<T>* b, T* y, uint8_t* index,
                             const Conv2dShape& conv, const Pool2dShape& pool, Activation activation, Context& context);

/// Whether that is faster than the two: not for a few images, whose output lies in the caches anyway and whose weights
/// are better not packed once for all.
template <typename T>
bool conv2d_max_pool_pays(const Conv2dShape& conv, const Context& context);

}  // namespace striate::cpu
