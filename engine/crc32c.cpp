#include "engine/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace striate {
namespace {

static_assert(std::endian::native == std::endian::little, "eight bytes are taken as one little-endian number");

/// Table k advances a byte past k further bytes ("slicing by 8", Kounavis and Berry 2005): eight independent look-ups
/// in place of a chain of eight.
using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  constexpr uint32_t kPolynomial = 0x82f63b78;  // bits reversed
  Tables tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    tables[0][i] = value;
  }
  for (size_t k = 1; k < tables.size(); ++k) {
    for (uint32_t i = 0; i < 256; ++i) {
      tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

uint64_t eight(const uint8_t* bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t sse42_crc32c(const uint8_t* bytes, size_t count, uint32_t before) {
  uint64_t crc = ~before;
  for (; count >= 8; bytes += 8, count -= 8) crc = _mm_crc32_u64(crc, eight(bytes));
  auto rest = static_cast<uint32_t>(crc);
  for (; count > 0; ++bytes, --count) rest = _mm_crc32_u8(rest, *bytes);
  return ~rest;
}
#endif

}  // namespace

uint32_t portable_crc32c(const void* data, size_t count, uint32_t before) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t crc = ~before;
  for (; count >= 8; bytes += 8, count -= 8) {
    const uint64_t next = eight(bytes) ^ crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][(next >> (8 * k)) & 0xff];
  }
  for (; count > 0; ++bytes, --count) crc = (crc >> 8) ^ kTables[0][(crc ^ *bytes) & 0xff];
  return ~crc;
}

uint32_t crc32c(const void* bytes, size_t count, uint32_t before) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return sse42_crc32c(static_cast<const uint8_t*>(bytes), count, before);
#endif
  return portable_crc32c(bytes, count, before);
}

}  // namespace striate
