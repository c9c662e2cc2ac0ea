#pragma once

#include <string>
#include <string_view>

namespace striate {

/// A file that grows by whole records, each in the file as soon as append() returns. Errors are IoError.
class AppendFile {
 public:
  enum class Open { replace, keep, must_be_new };
  AppendFile(std::string path, Open open);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view record);
  /// Waits until all of it is on disk.
  void sync();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int descriptor_;
};

}  // namespace striate
