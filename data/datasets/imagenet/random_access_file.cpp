#include "data/datasets/imagenet/random_access_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/error.h"

namespace striate {

RandomAccessFile::RandomAccessFile(const std::filesystem::path& file) : path_(file.string()) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  require<IoError>(descriptor_ >= 0, "{}: cannot open: {}", path_, std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  const int error = errno;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw IoError(known ? fmt::format("{}: expected a file, found something else", path_)
                        : fmt::format("{}: cannot be examined: {}", path_, std::strerror(error)));
  }
  size_ = static_cast<uint64_t>(status.st_size);
  modified_ns_ = int64_t{status.st_mtim.tv_sec} * 1000000000 + status.st_mtim.tv_nsec;
  // Reading ahead would fetch what nobody asks for: headers are read a page at a time, pictures in any order.
  ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_RANDOM);
}

RandomAccessFile::~RandomAccessFile() { ::close(descriptor_); }

size_t RandomAccessFile::read_some(uint64_t offset, std::span<uint8_t> bytes) const {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    require<IoError>(got >= 0, "{}: cannot read at byte {}: {}", path_, offset + done, std::strerror(errno));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void RandomAccessFile::read(uint64_t offset, std::span<uint8_t> bytes) const {
  const size_t got = read_some(offset, bytes);
  require<IoError>(got == bytes.size(), "{}: expected {} bytes at byte {}, found {}; the file ends there", path_,
                   bytes.size(), offset, got);
}

}  // namespace striate
