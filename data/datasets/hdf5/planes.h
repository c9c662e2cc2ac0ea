#pragma once

#include <cstdint>

namespace striate {

/// Three planes of `count` values each → their values side by side: out[3·i + c] = planes[c·count + i].
void interleave_planes(const uint8_t* planes, int64_t count, uint8_t* out);

}  // namespace striate
