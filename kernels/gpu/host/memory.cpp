// Guarded memory is cut from one reserved range of addresses, so that a single mprotect opens and closes all of it.
#include "kernels/gpu/host/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "kernels/error.h"
#include "kernels/gpu/host/checker.h"

namespace striate::gpu::host {

namespace {

constexpr size_t kAlignment = 256;             // cudaMalloc's
constexpr size_t kReserved = size_t{1} << 36;  // of addresses, not of memory
constexpr size_t kPage = 4096;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

class Arena {
 public:
  Arena() {
    void* range = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require<CudaError>(range != MAP_FAILED, "host execution of CUDA kernels: {} bytes of addresses are not to be had",
                       kReserved);
    base_ = static_cast<std::byte*>(range);
  }

  void* allocate(size_t bytes) {
    if (bytes > kReserved) return nullptr;
    // An unused page after each, so that an overrun of a page or less changes no other allocation; the checking build
    // reports it.
    const size_t size = round_up(bytes > 0 ? bytes : 1, kPage) + kPage;
    std::lock_guard lock(mutex_);
    size_t offset = 0;
    for (const auto& [start, used] : blocks_) {
      if (start - offset >= size) break;
      offset = start + used;
    }
    if (offset + size > kReserved) return nullptr;
    blocks_[offset] = size;
    if (offset + size > end_) {
      end_ = offset + size;
      if (open_ > 0) protect(PROT_READ | PROT_WRITE);
    }
    return base_ + offset;
  }

  void release(void* memory) {
    std::lock_guard lock(mutex_);
    const auto block = blocks_.find(static_cast<size_t>(static_cast<std::byte*>(memory) - base_));
    if (block == blocks_.end()) return;
    madvise(memory, block->second, MADV_DONTNEED);
    blocks_.erase(block);
  }

  bool contains(const void* address) const {
    const auto* byte = static_cast<const std::byte*>(address);
    return std::less_equal<>()(base_, byte) && std::less<>()(byte, base_ + kReserved);
  }

  /// Start and size of the allocation that holds the address; {0, 0} where none does.
  std::pair<size_t, size_t> allocation_at(uintptr_t address) {
    const size_t offset = address - reinterpret_cast<uintptr_t>(base_);
    if (offset >= kReserved) return {0, 0};
    std::lock_guard lock(mutex_);
    auto after = blocks_.upper_bound(offset);
    if (after == blocks_.begin()) return {0, 0};
    --after;
    const size_t size = after->second - kPage;
    return offset - after->first < size ? std::pair(after->first, size) : std::pair<size_t, size_t>();
  }

  void open() {
    std::lock_guard lock(mutex_);
    if (open_++ == 0) protect(PROT_READ | PROT_WRITE);
  }

  void close() {
    std::lock_guard lock(mutex_);
    if (--open_ == 0) protect(PROT_NONE);
  }

 private:
  void protect(int rights) {
    if (end_ > 0) mprotect(base_, end_, rights);
  }

  std::mutex mutex_;
  std::byte* base_ = nullptr;
  size_t end_ = 0;  // of what was ever handed out
  int open_ = 0;
  std::map<size_t, size_t> blocks_;  // offset → size
};

/// What a GPU's driver would have pinned.
class PinnedMemory {
 public:
  void add(const void* memory, size_t bytes) {
    std::lock_guard lock(mutex_);
    blocks_[reinterpret_cast<uintptr_t>(memory)] = bytes;
  }
  void remove(const void* memory) {
    std::lock_guard lock(mutex_);
    blocks_.erase(reinterpret_cast<uintptr_t>(memory));
  }
  bool contains(const void* address) {
    std::lock_guard lock(mutex_);
    const auto at = reinterpret_cast<uintptr_t>(address);
    auto after = blocks_.upper_bound(at);
    return after != blocks_.begin() && (--after, at - after->first < after->second);
  }

 private:
  std::mutex mutex_;
  std::map<uintptr_t, size_t> blocks_;  // address → size
};

// Never destroyed: tensors in static storage may outlive any order of destruction.
Arena& arena() {
  static auto* instance = new Arena;
  return *instance;
}

PinnedMemory& pinned() {
  static auto* instance = new PinnedMemory;
  return *instance;
}

}  // namespace

void* allocate_or_null(size_t bytes, bool guarded) {
  void* memory = nullptr;
  if (guarded) {
    memory = arena().allocate(bytes);
  } else if (bytes <= SIZE_MAX - kAlignment) {
    memory = std::aligned_alloc(kAlignment, round_up(bytes > 0 ? bytes : 1, kAlignment));
  }
  if (!memory) return nullptr;
  if (!guarded) pinned().add(memory, bytes);
  register_allocation(memory, bytes, guarded ? "device memory" : "managed memory");
  return memory;
}

void release(void* memory, bool guarded) noexcept {
  if (!memory) return;
  unregister_allocation(memory);
  if (guarded) {
    arena().release(memory);
  } else {
    pinned().remove(memory);
    std::free(memory);
  }
}

bool is_visible(const void* address) { return arena().contains(address) || pinned().contains(address); }

size_t bytes_behind(const void* arguments, size_t size) {
  std::set<std::pair<size_t, size_t>> found;
  for (size_t at = 0; at + sizeof(uintptr_t) <= size; at += sizeof(uintptr_t)) {
    uintptr_t address = 0;
    std::memcpy(&address, static_cast<const std::byte*>(arguments) + at, sizeof(address));
    found.insert(arena().allocation_at(address));
  }
  size_t bytes = 0;
  for (const auto& [start, count] : found) bytes += count;
  return bytes;
}

DeviceAccess::DeviceAccess() { arena().open(); }
DeviceAccess::~DeviceAccess() { arena().close(); }

}  // namespace striate::gpu::host
