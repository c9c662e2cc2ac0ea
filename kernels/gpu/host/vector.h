#pragma once

#include <cstddef>

#include "kernels/gpu/host/block.h"

namespace striate::gpu::host {

/// Copies 8 or 16 bytes; `address`, the one of the two that is not the kernel's own variable, must be a multiple of
/// that.
void copy_vector(void* to, const void* from, size_t bytes, const void* address, Site site);

}  // namespace striate::gpu::host
