#pragma once

#include <cstddef>

#include "kernels/gpu/host/block.h"

namespace striate::gpu::host {

/// Copies kBytes, 8 or 16; `address`, the one of the two that is not the kernel's own variable, must be a multiple of
/// it.
template <size_t kBytes>
void copy_vector(Site site, void* to, const void* from, const void* address);
extern template void copy_vector<8>(Site, void*, const void*, const void*);
extern template void copy_vector<16>(Site, void*, const void*, const void*);

}  // namespace striate::gpu::host
