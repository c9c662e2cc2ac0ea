#pragma once

#include <cstdint>

namespace striate::gemm {

/// Bytes of a core's second-level cache, as the system tells it; 512 KB where it does not. It decides where loops are
/// cut, never in which order values are summed.
int64_t second_level_cache();

}  // namespace striate::gemm
