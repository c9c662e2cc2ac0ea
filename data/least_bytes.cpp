#include "data/least_bytes.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace striate {
namespace {

// Deflate stores at best 258 bytes in 2 bits: 1032 to 1.
constexpr uint64_t kLargestDeflateRatio = 1032;

/// 0 where the file has ended.
template <typename T>
T read(std::span<const uint8_t> bytes, uint64_t at, std::endian order) {
  T value = 0;
  if (at > bytes.size() || bytes.size() - at < sizeof(T)) return 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value << 8 | bytes[at + (order == std::endian::big ? i : sizeof(T) - 1 - i)]);
  }
  return value;
}

uint64_t least_of_png(std::span<const uint8_t> png, uint64_t height, uint64_t width) {
  const auto depth = read<uint8_t>(png, 24, std::endian::big), color = read<uint8_t>(png, 25, std::endian::big);
  const uint64_t samples = color == 2 ? 3 : color == 4 ? 2 : color == 6 ? 4 : 1;
  return height * (1 + (width * samples * depth + 7) / 8) / kLargestDeflateRatio;  // a row begins with its filter
}

uint64_t least_of_bmp(std::span<const uint8_t> bmp, uint64_t height, uint64_t width) {
  const auto header = read<uint32_t>(bmp, 14, std::endian::little);
  // Memory is taken before a pixel of no bits is refused.
  const auto bits = std::max<uint16_t>(read<uint16_t>(bmp, header == 12 ? 24 : 28, std::endian::little), 1);
  // Rows are padded to 4 bytes; of the last one the padding is not missed.
  const uint64_t row = (width * bits + 7) / 8, pitch = (row + 3) / 4 * 4;
  return std::max<uint64_t>(read<uint32_t>(bmp, 2, std::endian::little), height == 0 ? 0 : (height - 1) * pitch + row);
}

}  // namespace

uint64_t least_bytes(std::span<const uint8_t> picture, int height, int width) {
  constexpr uint8_t kPng[] = {0x89, 'P', 'N', 'G'};
  const auto rows = static_cast<uint64_t>(height), columns = static_cast<uint64_t>(width);
  if (picture.size() < sizeof kPng) return 0;
  if (std::memcmp(picture.data(), kPng, sizeof kPng) == 0) return least_of_png(picture, rows, columns);
  if (picture[0] == 'B' && picture[1] == 'M') return least_of_bmp(picture, rows, columns);
  return 0;
}

}  // namespace striate
