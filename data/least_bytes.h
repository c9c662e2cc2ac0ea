#pragma once

#include <cstdint>
#include <span>

namespace striate {

/// Bytes that a PNG or BMP has at least when it is whole; for other formats 0. stb_image takes memory for what
/// headers claim, and fills what a file lacks with zeros, saying nothing.
/// PNG: what its pixels can be deflated to. BMP: its header's size of the file, and its rows, uncompressed.
uint64_t least_bytes(std::span<const uint8_t> picture, int height, int width);

}  // namespace striate
