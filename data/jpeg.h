#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/image.h"
#include "data/part.h"

namespace striate {

/// Decodes a baseline or progressive JPEG (grey, YCbCr, RGB, CMYK or YCCK) as libjpeg-turbo does by default: accurate
/// DCT, smooth chroma upsampling, so that the pixels are Pillow's. Of the picture only what `choose` names, told its
/// size, is computed, rounded out to whole blocks; the pixels asked for are those of the whole picture, or of the
/// picture decoded at the part of its size that `choose` allows. Returns what `image` holds. Throws IoError that
/// begins with `name`, for all parts of a picture or for none.
Part decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, const ChoosePart& choose, Image& image);

}  // namespace striate
