#include "tests/support/visible_memory.h"

#include <new>

#include "kernels/gpu/device.h"
#include "kernels/gpu/memory.h"

namespace striate::test {

namespace {

constexpr std::align_val_t kAlignment{256};

bool managed() {
  static const bool result = gpu::available();
  return result;
}

}  // namespace

void* allocate_visible(size_t bytes) {
  return managed() ? gpu::allocate(bytes, gpu::MemoryKind::managed) : ::operator new(bytes, kAlignment);
}

void release_visible(void* memory) noexcept {
  if (managed()) {
    gpu::release(memory, gpu::MemoryKind::managed);
  } else {
    ::operator delete(memory, kAlignment);
  }
}

}  // namespace striate::test
