#pragma once

#include "data/image.h"
#include "data/part.h"
#include "data/transforms/transform.h"

namespace striate {

/// Resizes as Pillow's antialiased bilinear does: a triangle filter as wide as the reduction, applied first along rows
/// and then along columns, weights in fixed point with 22 fractional bits, rounded to 8 bits in between (Pillow,
/// src/libImaging/Resample.c). Equal bit for bit, but where Pillow 13 takes the columns first (it does when the height
/// shrinks more): there a pixel may differ by one level. `from` and `to` must be different pictures; all sizes > 0.
void resize_bilinear(const Image& from, int height, int width, Image& to, TransformScratch& scratch);

/// Of a picture the window `source`, resized to [height, width], of which the window `kept` is wanted.
struct Resampling {
  Window source;
  int height = 0, width = 0;
  Window kept;
};

/// The pixels of the picture, reduced by `reduction` (Part), that what is kept hangs on.
Window inputs_of(const Resampling& resampling, int reduction = 1);

/// What resize_bilinear makes of the source, but only the window that is kept, from a picture of which `have` is there:
/// inputs_of(resampling) at least. From a reduced picture the result is near that, see Framing::allow_reduction().
void resample(const Image& from, const Part& have, const Resampling& resampling, Image& to, TransformScratch& scratch);

}  // namespace striate
