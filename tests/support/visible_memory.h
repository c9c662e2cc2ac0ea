#pragma once

#include <cstddef>
#include <vector>

namespace striate::test {

/// Memory that the tests and every backend's kernels can read and write: managed by the driver where there is a GPU.
/// 256-byte aligned.
void* allocate_visible(size_t bytes);
void release_visible(void* memory) noexcept;

template <typename T>
struct VisibleAllocator {
  using value_type = T;
  VisibleAllocator() = default;
  template <typename U>
  VisibleAllocator(const VisibleAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(allocate_visible(count * sizeof(T))); }
  void deallocate(T* memory, size_t) noexcept { release_visible(memory); }
  friend bool operator==(const VisibleAllocator&, const VisibleAllocator&) { return true; }
};

/// A vector whose elements can be given to a kernel of any backend.
template <typename T>
using Values = std::vector<T, VisibleAllocator<T>>;

}  // namespace striate::test
