#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace striate {

/// Whether a file is waited for until it is on the disk. Without it a loss of power may leave it missing or empty: for
/// files by the hundred that can be made again.
enum class Sync { yes, no };

/// Renames a file that is whole and on disk, and waits until the new name is on disk too. Throws IoError.
void put_in_place(const std::string& from, const std::string& to);

/// A file that appears under its name whole or not at all: written beside as `NAME.partial`, synced, renamed. Whatever
/// stood there stays until commit(). Errors are IoError with file and reason; the partial file is then removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();  ///< removes the partial file unless committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Replaces bytes that were written before, at an offset from the file's start.
  void overwrite(size_t offset, std::string_view bytes);
  /// Syncs the file, renames it and syncs its folder.
  void commit(Sync sync = Sync::yes);

 private:
  [[noreturn]] void fail(const char* what);
  std::string path_, partial_;
  int descriptor_ = -1;
};

/// The same in one call.
void write_file_atomically(const std::string& path, std::string_view bytes, Sync sync = Sync::yes);

}  // namespace striate
