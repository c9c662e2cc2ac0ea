#pragma once

#include <cstddef>

/// The GPU's memory in a process that has no GPU.
namespace striate::gpu::host {

/// 256-byte aligned memory; where it is `guarded`, unreadable outside any DeviceAccess. Null when there is no room.
void* allocate_or_null(size_t bytes, bool guarded);
void release(void* memory, bool guarded) noexcept;
/// Whether a GPU would reach the address at any time: guarded memory, or what allocate_or_null() gave without.
bool is_visible(const void* address);
/// Of guarded memory, what lies behind the addresses among these arguments, every allocation once; rounded up to pages.
size_t bytes_behind(const void* arguments, size_t size);

/// While one lives, guarded memory may be read and written: around every launch and copy.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace striate::gpu::host
