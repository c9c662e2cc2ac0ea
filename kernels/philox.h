#pragma once

#include <array>
#include <cstdint>

namespace striate {

/// Philox 4x32-10: four 32-bit random words from a 128-bit counter and a 64-bit key.
/// Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, §3.3.
/// Every device evaluates it the same, so whoever knows (key, counter) knows the draw.
constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9u;  // golden ratio
    key[1] += 0xBB67AE85u;  // √3 − 1
  }
  return counter;
}

/// A word as a float uniform in [0, 1): its upper 24 bits, every one of which a float holds exactly.
constexpr float uniform_from_word(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

}  // namespace striate
