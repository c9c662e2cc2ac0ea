#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/image.h"

namespace striate {

/// Decodes a baseline or progressive JPEG (grey, YCbCr, RGB, CMYK or YCCK) as libjpeg-turbo does by default: accurate
/// DCT, smooth chroma upsampling, so that the pixels are Pillow's. Throws IoError that begins with `name`.
void decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, Image& image);

}  // namespace striate
