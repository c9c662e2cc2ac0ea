#include "engine/train/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/error.h"

namespace striate {

namespace {
int flags(AppendFile::Open open) {
  switch (open) {
    case AppendFile::Open::replace:
      return O_TRUNC;
    case AppendFile::Open::must_be_new:
      return O_EXCL;
    case AppendFile::Open::keep:
      break;
  }
  return 0;
}
}  // namespace

AppendFile::AppendFile(std::string path, Open open)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags(open), 0644)) {
  require<IoError>(descriptor_ >= 0, "{}: cannot be opened for writing: {}", path_, std::strerror(errno));
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::append(std::string_view record) {
  while (!record.empty()) {
    const ssize_t written = ::write(descriptor_, record.data(), record.size());
    if (written < 0 && errno == EINTR) continue;
    require<IoError>(written >= 0, "{}: cannot be written: {}", path_, std::strerror(errno));
    record.remove_prefix(static_cast<size_t>(written));
  }
}

void AppendFile::sync() {
  require<IoError>(::fsync(descriptor_) == 0, "{}: cannot be written to disk: {}", path_, std::strerror(errno));
}

}  // namespace striate
