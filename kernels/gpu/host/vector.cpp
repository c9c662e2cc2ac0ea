#include "kernels/gpu/host/vector.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

namespace striate::gpu::host {

void copy_vector(void* to, const void* from, size_t bytes, const void* address, Site site) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
    fail(fmt::format("access of {} bytes at {}:{} to the misaligned address {}", bytes, site.file, site.line, address)
             .c_str());
  }
  std::memcpy(to, from, bytes);
}

}  // namespace striate::gpu::host
