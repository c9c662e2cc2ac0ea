#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace striate::gpu::host {

/// The shared memory of one block at a time, in one window of addresses with room between its parts, so that an access
/// beyond a part is known as such. Everything starts as 0xFF bytes.
class SharedMemory {
 public:
  /// 227 KiB is the most a block of any GPU may ask for (compute capability 9.0).
  static constexpr size_t kMostDynamicBytes = size_t{227} << 10;
  /// The limit of __shared__ variables on every GPU.
  static constexpr size_t kMostStaticBytes = size_t{48} << 10;

  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// A new block: no variables, `dynamic_bytes` ≤ kMostDynamicBytes.
  void begin_block(size_t dynamic_bytes);
  std::span<std::byte> dynamic() const { return {window_ + kDynamicOffset, dynamic_bytes_}; }
  /// The variable of this tag; null where the variables of the block pass kMostStaticBytes.
  void* variable(const void* tag, const char* name, size_t bytes, size_t alignment);
  /// Whether all of these bytes belong to the dynamic part or to a variable.
  bool holds(const std::byte* p, size_t bytes) const;

 private:
  struct Variable {
    const void* tag;
    std::byte* memory;
    size_t bytes;
  };
  static constexpr size_t kRoom = size_t{64} << 10;
  static constexpr size_t kGap = 256;
  static constexpr size_t kDynamicOffset = kRoom;
  static constexpr size_t kStaticOffset = kDynamicOffset + (size_t{256} << 10) + kRoom;
  static constexpr size_t kWindowBytes = kStaticOffset + (size_t{256} << 10) + kRoom;

  std::byte* window_;
  size_t dynamic_bytes_ = 0;
  size_t static_bytes_ = 0;  // without the gaps
  size_t next_static_ = kStaticOffset;
  std::vector<Variable> variables_;
};

}  // namespace striate::gpu::host
