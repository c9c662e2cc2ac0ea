#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/image.h"

namespace striate {

/// Decodes a picture from memory into `image`, whose memory is reused: JPEG by libjpeg-turbo, PNG and BMP by stb_image,
/// PNM by our own. Grey stays 1 channel, everything else becomes RGB. The pixels are those of Pillow's convert("RGB"),
/// and so torchvision's: transparency is dropped, a note of the camera's orientation is ignored, 16 bits become their
/// upper 8 (which Pillow does for colour; its grey ones turn white). `name` is what errors call it. Throws IoError if
/// it is not a picture, or broken, cut short or larger than kMostPixels; a header that promises more pixels than the
/// rest could hold is refused before memory is taken for them (in a JPEG with arithmetic coding, above kMostPixels).
void decode_image(std::span<const uint8_t> bytes, const std::string& name, Image& image);

/// The same, of which only what `choose` names, given the size, must be decoded; a JPEG is decoded in part. Returns
/// what `image` holds: the part that was asked for or more.
Part decode_image_part(std::span<const uint8_t> bytes, const std::string& name, const ChoosePart& choose, Image& image);

/// A file's bytes, in `buffer`, which keeps its capacity. Throws IoError that names the file.
std::span<const uint8_t> read_picture_bytes(const std::filesystem::path& file, std::vector<uint8_t>& buffer);

/// Reads and decodes a file. Throws IoError that names it.
void read_image(const std::filesystem::path& file, Image& image);
Image read_image(const std::filesystem::path& file);

}  // namespace striate
