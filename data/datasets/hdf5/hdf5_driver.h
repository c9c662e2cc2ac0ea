#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>

namespace striate::hdf5 {

/// An identifier of the library (hid_t).
using Id = int64_t;

/// Some bytes of a file. `skipped_filters` has a bit for each filter of the pipeline that a chunk has not gone through.
struct Extent {
  uint64_t offset = 0, bytes = 0;
  uint32_t skipped_filters = 0;
};

/// Whoever calls the library holds one: it is not built for several threads everywhere. Nor does it print errors
/// meanwhile.
class Library {
 public:
  Library();
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

 private:
  std::unique_lock<std::mutex> lock_;
  int (*print_)(Id, void*) = nullptr;
  void* print_data_ = nullptr;
};

/// What the library said last of what went wrong, for the end of a message; a Library is held.
std::string last_error();

/// Opens a file for reading through our own file driver, so that chunk_extent() works. Negative if the library does not
/// take it, see last_error(). A Library is held.
Id open_file(const std::string& path);

/// Where a chunk lies in a file of open_file(): H5Dread_chunk() finds it by its index in logarithmic time whatever the
/// kind of index, and our driver notes the place that it would have read. (H5Dget_chunk_info() and its like walk all
/// chunks.) Nothing for a chunk that was never written. `most` bounds the bytes a chunk can honestly have. A Library is
/// held.
std::optional<Extent> chunk_extent(Id dataset, std::span<const uint64_t> place, uint64_t most);

}  // namespace striate::hdf5
