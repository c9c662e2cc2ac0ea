#pragma once

namespace striate::nvtx {

/// A range on this thread in NVIDIA Nsight's timeline; nothing in a build without NVTX, next to nothing where no Nsight
/// looks on. Ranges end in the opposite order.
void begin_range(const char* name);
void end_range();

}  // namespace striate::nvtx
