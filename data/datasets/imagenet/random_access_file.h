#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace striate {

/// A file of which pieces are read wherever they lie, from several threads at once. All errors are IoError with the
/// file's name.
class RandomAccessFile {
 public:
  explicit RandomAccessFile(const std::filesystem::path& file);
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  const std::string& path() const { return path_; }
  /// What it was when the file was opened.
  uint64_t size() const { return size_; }
  int64_t modified_ns() const { return modified_ns_; }  ///< since 1970

  /// As many bytes as lie at `offset` and fit; fewer than `bytes` has room for only where the file ends.
  size_t read_some(uint64_t offset, std::span<uint8_t> bytes) const;
  /// All of `bytes`. Throws IoError where the file ends before.
  void read(uint64_t offset, std::span<uint8_t> bytes) const;

 private:
  std::string path_;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
  int descriptor_ = -1;
};

}  // namespace striate
