#pragma once

#include <filesystem>
#include <string>

#include "data/image.h"

namespace striate {

/// The bytes of a PNG of an image with 1 or 3 channels. Throws ShapeError for an image of no pixels or other channels.
std::string encode_png(const Image& image);
/// The same into a file, whole or not at all. Throws IoError.
void write_png(const Image& image, const std::filesystem::path& file);

/// Base64 (RFC 4648), as data URIs have it.
std::string base64(const std::string& bytes);

}  // namespace striate
