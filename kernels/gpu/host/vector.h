#pragma once

#include <cstddef>

#include "kernels/gpu/host/block.h"
#include "kernels/gpu/host/checker.h"

namespace striate::gpu::host {

/// Copies 8 or 16 bytes; `address`, the one of the two that is not the kernel's own variable, must be a multiple of
/// that.
void copy_vector(void* to, const void* from, size_t bytes, const void* address, Site site);

// Of the current thread.
template <typename Vector>
inline __attribute__((always_inline)) Vector read_vector(const void* p, Site site) {
  report_read(p, sizeof(Vector));
  Vector value;
  copy_vector(&value, p, sizeof(Vector), p, site);
  return value;
}
template <typename Vector>
inline __attribute__((always_inline)) void write_vector(void* p, const Vector& value, Site site) {
  report_write(p, sizeof(Vector));
  copy_vector(p, &value, sizeof(Vector), p, site);
}

}  // namespace striate::gpu::host
