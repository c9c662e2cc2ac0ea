#include "kernels/gpu/host/shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "kernels/gpu/host/checker_events.h"

namespace striate::gpu::host {

SharedMemory::SharedMemory() {
  void* p = mmap(nullptr, kWindowBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  window_ = static_cast<std::byte*>(p);
}

SharedMemory::~SharedMemory() { munmap(window_, kWindowBytes); }

void SharedMemory::begin_block(size_t dynamic_bytes) {
  dynamic_bytes_ = dynamic_bytes;
  static_bytes_ = 0;
  next_static_ = kStaticOffset;
  variables_.clear();
  // 0xFF bytes are a NaN in every float format and −1 in every integer: what was never written shows.
  if (dynamic_bytes > 0) std::memset(window_ + kDynamicOffset, 0xFF, dynamic_bytes);
  events::shared_window(window_, kWindowBytes);
  if (dynamic_bytes > 0) events::shared_part(window_ + kDynamicOffset, dynamic_bytes, "dynamic_shared");
}

void* SharedMemory::variable(const void* tag, [[maybe_unused]] const char* name, size_t bytes, size_t alignment) {
  for (const Variable& variable : variables_) {
    if (variable.tag == tag) return variable.memory;
  }
  const size_t aligned = std::max<size_t>(alignment, 16);
  const size_t offset = (next_static_ + aligned - 1) / aligned * aligned;
  static_bytes_ = (static_bytes_ + alignment - 1) / alignment * alignment + bytes;
  if (static_bytes_ > kMostStaticBytes || offset + bytes + kGap > kWindowBytes - kRoom) return nullptr;
  next_static_ = offset + bytes + kGap;
  std::byte* memory = window_ + offset;
  std::memset(memory, 0xFF, bytes);
  variables_.push_back({tag, memory, bytes});
  events::shared_part(memory, bytes, name);
  return memory;
}

bool SharedMemory::holds(const std::byte* p, size_t bytes) const {
  const auto inside = [&](const std::byte* memory, size_t size) { return p >= memory && p + bytes <= memory + size; };
  return inside(window_ + kDynamicOffset, dynamic_bytes_) ||
         std::any_of(variables_.begin(), variables_.end(),
                     [&](const Variable& variable) { return inside(variable.memory, variable.bytes); });
}

}  // namespace striate::gpu::host
