#pragma once

#include <cstddef>
#include <cstdint>

#include "data/image.h"
#include "data/transforms/transform.h"

namespace striate {

/// Fractional bits of a resize's weights: 32 − 8 bits of the pixel − 2 of head room for a sum of weights above 1.
inline constexpr int kWeightBits = 22;

// What is done to every pixel, on the best instruction set that the machine has; all of them give the same pixels.

/// The pass of a resize along rows, sums exact in 32-bit integers. `from` points to the first input of all outputs, its
/// rows lie `stride` bytes apart, and `to` has the shape of the result.
void resize_rows(const uint8_t* from, size_t stride, const ResizeAxis& axis, Image& to);
/// The same along columns.
void resize_columns(const uint8_t* from, size_t stride, const ResizeAxis& axis, Image& to);
/// y = x·scale[c] + shift[c] in double precision, rounded to float: one rounding or two, as the instruction set has it.
/// x [count], channels interleaved, 1 or 3 of them. `streamed`: written past the caches.
void scale_pixels(const uint8_t* x, size_t count, int channels, const double* scale, const double* shift, bool streamed,
                  float* y);

}  // namespace striate
