#pragma once

#include <cstdint>

namespace striate::gpu {

/// `value` as a kernel counts it, in 32 bits. Throws ShapeError where it does not fit, naming `what`, as in "pool2d:
/// rows of the output", the value and the limit.
int index_32(int64_t value, const char* what);

}  // namespace striate::gpu
