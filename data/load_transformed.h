#pragma once

#include "data/dataset.h"
#include "data/transforms/transform.h"

namespace striate {

/// A picture of an epoch as its transforms leave it: load_in_epoch() and Pipeline::apply(), bit for bit, but what the
/// leading crops, resizes and flips cut away is neither decoded nor computed. With `may_reduce` a picture that is
/// shrunk much may be decoded smaller, and then is not the same bit for bit: Framing::allow_reduction(). Throws IoError
/// if the picture cannot be read, ShapeError that names it if the transforms cannot take it.
void load_transformed(const Dataset& dataset, int64_t index, const Pipeline& transforms, uint64_t seed, int64_t epoch,
                      Image& image, TransformScratch& scratch, bool may_reduce = false);

}  // namespace striate
