#include "kernels/gpu/host/checked/shadow.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace striate::gpu::host::checked {

namespace {

/// Zeroed when first touched, and not there before.
void* map_zeroed(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return p;
}

// 1 GiB of words' cells: 85 MB of the kernels' own memory.
constexpr size_t kMostPages = 1400;

}  // namespace

Shadow::Page Shadow::find(uintptr_t page) {
  if (4 * (pages_ + 1) > 3 * capacity_) grow();
  size_t slot = page * 0x9E3779B97F4A7C15u >> 20 & (capacity_ - 1);
  while (table_[slot].cells && table_[slot].number != page) slot = (slot + 1) & (capacity_ - 1);
  if (!table_[slot].cells) {
    table_[slot] = {page, static_cast<Cell*>(map_zeroed(kPageCells * sizeof(Cell)))};
    ++pages_;
  }
  return table_[slot];
}

void Shadow::grow() {
  const size_t old_capacity = capacity_;
  Page* old = table_;
  capacity_ = old_capacity == 0 ? 4096 : old_capacity * 2;
  table_ = static_cast<Page*>(std::calloc(capacity_, sizeof(Page)));
  if (!table_) throw std::bad_alloc();
  for (size_t i = 0; i < old_capacity; ++i) {
    if (!old[i].cells) continue;
    size_t slot = old[i].number * 0x9E3779B97F4A7C15u >> 20 & (capacity_ - 1);
    while (table_[slot].cells) slot = (slot + 1) & (capacity_ - 1);
    table_[slot] = old[i];
  }
  std::free(old);
}

void Shadow::trim() {
  if (pages_ < kMostPages) return;
  for (size_t i = 0; i < capacity_; ++i) {
    if (table_[i].cells) munmap(table_[i].cells, kPageCells * sizeof(Cell));
    table_[i] = {};
  }
  pages_ = 0;
  for (Page& recent : recent_) recent = {};
}

}  // namespace striate::gpu::host::checked
