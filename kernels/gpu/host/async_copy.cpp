#include "kernels/gpu/host/async_copy.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

#include "kernels/gpu/host/checker.h"
#include "kernels/gpu/host/checker_events.h"

namespace striate::gpu::host {

void AsyncCopies::issue(const AsyncCopy& copy) {
  // Drops what has arrived once that is most of it, so that a long loop needs no more memory.
  constexpr size_t kKept = 64;
  if (first_copy_ > kKept && first_copy_ * 2 > copies_.size()) {
    copies_.erase(copies_.begin(), copies_.begin() + static_cast<std::ptrdiff_t>(first_copy_));
    groups_.erase(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(first_group_));
    for (size_t& end : groups_) end -= first_copy_;
    first_copy_ = first_group_ = 0;
  }
  std::memset(copy.shared, 0xFF, copy.bytes);
  copies_.push_back(copy);
}

void AsyncCopies::commit() { groups_.push_back(copies_.size()); }

void AsyncCopies::wait(size_t groups_left) {
  while (groups_.size() - first_group_ > groups_left) {
    for (const size_t end = groups_[first_group_++]; first_copy_ < end; ++first_copy_) {
      const AsyncCopy& copy = copies_[first_copy_];
      if (copy.global_bytes > 0) std::memcpy(copy.shared, copy.global, copy.global_bytes);
      std::memset(copy.shared + copy.global_bytes, 0, copy.bytes - copy.global_bytes);
      report_async_landed(copy.shared, copy.bytes);
    }
  }
}

void AsyncCopies::clear() {
  copies_.clear();
  groups_.clear();
  first_copy_ = first_group_ = 0;
}

void cp_async(void* shared, const void* global, size_t bytes, size_t global_bytes, Site site) {
  const events::Pause pause;
  const auto refuse = [&](const char* what, const void* p) {
    fail(fmt::format("cp.async of {} bytes at {}:{}: {} {}", bytes, site.file, site.line, what, p).c_str());
  };
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0) refuse("misaligned destination", shared);
  if (reinterpret_cast<uintptr_t>(global) % bytes != 0) refuse("misaligned source", global);
  if (!is_shared(shared, bytes)) refuse("the destination is not in the block's shared memory:", shared);
  if (global_bytes > 0 && is_shared(global, bytes)) refuse("the source is in shared memory:", global);
  async_copies().issue(
      {static_cast<std::byte*>(shared), static_cast<const std::byte*>(global), bytes, global_bytes, site});
}

void cp_async_commit() {
  const events::Pause pause;
  async_copies().commit();
}

void cp_async_wait(size_t groups_left) {
  const events::Pause pause;
  async_copies().wait(groups_left);
}

}  // namespace striate::gpu::host
