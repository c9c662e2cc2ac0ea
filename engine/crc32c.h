#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace striate {

/// CRC-32C (Castagnoli's polynomial, RFC 3720), by the processor's own instruction where there is one. `before` is the
/// checksum of what stands in front of the bytes, so that parts can be added one by one.
uint32_t crc32c(const void* bytes, size_t count, uint32_t before = 0);
inline uint32_t crc32c(std::string_view bytes) { return crc32c(bytes.data(), bytes.size()); }

/// The same with tables alone.
uint32_t portable_crc32c(const void* bytes, size_t count, uint32_t before = 0);

}  // namespace striate
