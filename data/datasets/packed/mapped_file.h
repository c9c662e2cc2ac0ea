#pragma once

#include <cstdint>
#include <string>

namespace striate {

/// A file's bytes as memory, read by the system when they are looked at.
class MappedFile {
 public:
  /// Throws IoError that names the file if it cannot be opened or mapped, or is no file, or is empty.
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  const uint8_t* data() const { return data_; }

  /// Brings a range within the file into memory. Where the system can tell (Linux 5.14), bytes that are gone because
  /// the file was cut short, or that the disk does not give, are an IoError here; looked at without, they end the
  /// process by SIGBUS, as they do still if they go between this call and the look.
  void fetch(uint64_t offset, uint64_t count) const;

 private:
  std::string path_;
  uint64_t size_ = 0;
  const uint8_t* data_ = nullptr;
};

}  // namespace striate
