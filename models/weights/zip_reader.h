#pragma once

#include <cstdint>
#include <memory>
#include <string>

struct archive;  // libarchive's

namespace striate::models {

/// Goes through the entries of a zip archive in their order. torch stores values as they are, so an entry that is
/// compressed, or claims more bytes than the archive has, is none of its. Throws IoError, naming the file, for those
/// and for archives that are damaged.
class ZipReader {
 public:
  explicit ZipReader(const std::string& path);
  ~ZipReader();
  ZipReader(const ZipReader&) = delete;
  ZipReader& operator=(const ZipReader&) = delete;

  /// False behind the last entry.
  bool next();
  const std::string& name() const { return name_; }
  int64_t size() const { return size_; }
  /// The entry's bytes. Throws IoError where there are more or fewer than size().
  std::string read();

 private:
  struct Close {
    void operator()(archive* opened) const;
  };
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_, name_;
  int64_t file_size_ = 0, size_ = 0;
  std::unique_ptr<archive, Close> archive_;
};

}  // namespace striate::models
