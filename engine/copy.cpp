#include "engine/copy.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/profiler.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"

namespace striate {

namespace {

/// Page-locked memory that uploads pass through: the host goes on while the GPU still fetches them. Slots are filled
/// one after another; the host waits only for one that is still being fetched when its turn comes again.
class Staging {
 public:
  void upload(void* destination, const void* source, size_t bytes, gpu::Stream& stream) {
    auto* to = static_cast<std::byte*>(destination);
    const auto* from = static_cast<const std::byte*>(source);
    while (bytes > 0) {
      if (used_ == kSlotBytes) next_slot(stream);
      Slot& slot = slots_[current_];
      if (!slot.memory) slot.memory = gpu::allocate(kSlotBytes, gpu::MemoryKind::pinned);
      std::byte* staged = static_cast<std::byte*>(slot.memory) + used_;
      const size_t part = std::min(bytes, kSlotBytes - used_);
      std::memcpy(staged, from, part);
      gpu::copy(to, staged, part, stream);
      used_ += (part + kAlignment - 1) / kAlignment * kAlignment;
      to += part;
      from += part;
      bytes -= part;
    }
  }

 private:
  static constexpr size_t kSlotBytes = size_t{4} << 20;  // long enough for full speed, short enough to overlap
  static constexpr size_t kAlignment = 64;

  struct Slot {
    void* memory = nullptr;
    gpu::Event fetched;
  };

  void next_slot(gpu::Stream& stream) {
    slots_[current_].fetched.record(stream);
    current_ = (current_ + 1) % slots_.size();
    slots_[current_].fetched.synchronize();
    used_ = 0;
  }

  std::array<Slot, 4> slots_;
  size_t current_ = 0, used_ = 0;
};

Staging& staging() {
  // Never destroyed: at the end of the process the driver may be gone first.
  static auto* instance = new Staging;
  return *instance;
}

}  // namespace

void copy_bytes(void* destination, Device destination_device, const void* source, Device source_device, size_t bytes) {
  if (bytes == 0) return;
  const bool to_host = on_host(destination_device), from_host = on_host(source_device);
  const char* name = from_host ? (to_host ? "copy" : "copy to device") : to_host ? "copy to host" : "copy on device";
  const KernelTimer timer(TimedCopy{to_host ? source_device : destination_device, name, bytes});
  if (on_host(destination_device) && on_host(source_device)) {
    std::memcpy(destination, source, bytes);
  } else if (on_host(source_device)) {
    staging().upload(destination, source, bytes, *context(destination_device).stream);
  } else {
    gpu::Stream& stream = *context(source_device).stream;
    gpu::copy(destination, source, bytes, stream);
    if (on_host(destination_device)) stream.synchronize();
  }
}

void set_bytes(void* destination, Device device, unsigned char value, size_t bytes) {
  if (bytes == 0) return;
  if (on_host(device)) {
    std::memset(destination, value, bytes);
  } else {
    gpu::set(destination, value, bytes, *context(device).stream);
  }
}

}  // namespace striate
