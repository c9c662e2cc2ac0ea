#include "kernels/gpu/host/vector.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

namespace striate::gpu::host {

template <size_t kBytes>
void copy_vector(Site site, void* to, const void* from, const void* address) {
  if (reinterpret_cast<uintptr_t>(address) % kBytes != 0) {
    fail(fmt::format("access of {} bytes at {}:{} to the misaligned address {}", kBytes, site.file, site.line, address)
             .c_str());
  }
  std::memcpy(to, from, kBytes);
}

template void copy_vector<8>(Site, void*, const void*, const void*);
template void copy_vector<16>(Site, void*, const void*, const void*);

}  // namespace striate::gpu::host
