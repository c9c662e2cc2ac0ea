#include "kernels/context.h"

#include <cstdlib>
#include <new>

namespace striate {

void HostWorkspace::Free::operator()(void* p) const { std::free(p); }

void* HostWorkspace::reserve(size_t bytes) {
  if (bytes > bytes_) {
    constexpr size_t kAlignment = 64;  // a cache line and an AVX-512 register
    const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    memory_.reset();
    bytes_ = 0;
    memory_.reset(std::aligned_alloc(kAlignment, rounded));
    if (!memory_) throw std::bad_alloc();
    bytes_ = rounded;
  }
  return memory_.get();
}

}  // namespace striate
