#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/image.h"

namespace striate {

/// Decodes a binary PGM (P5, 1 channel) or PPM (P6, 3 channels) of up to 65,535 levels, scaled to 0..255 and rounded.
/// Throws IoError that begins with `name`, before it takes memory, where the header is broken, promises more than
/// kMostPixels or more than there is.
void decode_pnm(std::span<const uint8_t> bytes, const std::string& name, Image& image);

}  // namespace striate
