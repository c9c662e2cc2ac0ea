#pragma once

#include <cstddef>
#include <vector>

#include "kernels/gpu/host/block.h"

namespace striate::gpu::host {

struct AsyncCopy {
  std::byte* shared;
  const std::byte* global;
  size_t bytes, global_bytes;  ///< the rest is zero-filled
  Site site;
};

/// One thread's cp.async copies in their commit groups. A GPU may move the bytes at any time between the issue and the
/// wait; here they move when waited for, and the destination is 0xFF until then, so that whoever reads too early gets
/// neither the old nor the new values.
class AsyncCopies {
 public:
  void issue(const AsyncCopy& copy);
  /// Closes a group, which may be empty.
  void commit();
  /// All groups but the newest `groups_left` arrive, oldest first.
  void wait(size_t groups_left);

  /// Copies not yet waited for, in a group or not.
  size_t pending() const { return copies_.size() - first_copy_; }
  Site first_site() const { return copies_[first_copy_].site; }
  void clear();

 private:
  std::vector<AsyncCopy> copies_;
  std::vector<size_t> groups_;  // where each ends in copies_
  size_t first_copy_ = 0, first_group_ = 0;
};

// For the current thread. Both addresses must be multiples of `bytes`, `shared` in the block's shared memory.
void cp_async(void* shared, const void* global, size_t bytes, size_t global_bytes, Site site);
void cp_async_commit();
void cp_async_wait(size_t groups_left);

}  // namespace striate::gpu::host
