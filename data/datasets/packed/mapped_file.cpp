#include "data/datasets/packed/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/error.h"

namespace striate {

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  require<IoError>(descriptor >= 0, "{}: cannot be opened: {}", path_, std::strerror(errno));
  struct stat info {};
  const bool is_file = ::fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
  if (!is_file || info.st_size == 0) {
    ::close(descriptor);
    throw IoError(fmt::format("{}: {}", path_, is_file ? "is empty" : "expected a file, found something else"));
  }
  size_ = static_cast<uint64_t>(info.st_size);
  void* const memory = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  require<IoError>(memory != MAP_FAILED, "{}: {} bytes cannot be mapped: {}", path_, size_, std::strerror(error));
  data_ = static_cast<const uint8_t*>(memory);
}

MappedFile::~MappedFile() { ::munmap(const_cast<uint8_t*>(data_), size_); }

void MappedFile::fetch(uint64_t offset, uint64_t count) const {
#ifdef MADV_POPULATE_READ
  static const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t first = offset / page * page;
  auto* const begin = const_cast<uint8_t*>(data_ + first);
  while (::madvise(begin, offset + count - first, MADV_POPULATE_READ) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno != EFAULT && errno != EHWPOISON) return;  // an older Linux, or not to do with the file
    throw IoError(
        fmt::format("{}: bytes {} to {} cannot be read: the file was cut short while it was in use, or the disk fails",
                    path_, offset, offset + count));
  }
#else
  static_cast<void>(offset + count);
#endif
}

}  // namespace striate
