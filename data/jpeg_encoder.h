#pragma once

#include <cstdint>
#include <vector>

#include "data/image.h"

namespace striate {

/// Encodes a grey or RGB picture as a baseline JPEG (YCbCr with every pixel's chroma kept). Throws ShapeError for an
/// empty picture and other channels, Error where libjpeg refuses it.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality);

}  // namespace striate
