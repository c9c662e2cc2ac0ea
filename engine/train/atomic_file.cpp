#include "engine/train/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "kernels/error.h"

namespace striate {
namespace {

/// A folder that cannot be synced (some network file systems) still holds the renamed file.
void sync_folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const int directory = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  ::fsync(directory);
  ::close(directory);
}

}  // namespace

void put_in_place(const std::string& from, const std::string& to) {
  require<IoError>(std::rename(from.c_str(), to.c_str()) == 0, "{}: cannot be put in place: {}; it stays as {}", to,
                   std::strerror(errno), from);
  sync_folder_of(to);
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {
  descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("cannot be created");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_.c_str());
}

void AtomicFile::fail(const char* what) {
  const int error = errno;
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(partial_.c_str());
    descriptor_ = -1;
  }
  throw IoError(fmt::format("{}: {}: {}; what stood there before is untouched", path_, what, std::strerror(error)));
}

void AtomicFile::write(const void* bytes, size_t count) {
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, next, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    next += written;
    count -= static_cast<size_t>(written);
  }
}

void AtomicFile::overwrite(size_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    offset += static_cast<size_t>(written);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void AtomicFile::commit(Sync sync) {
  if (sync == Sync::yes && ::fsync(descriptor_) != 0) fail("cannot be written to disk");
  // close() reports what a network file system found out late.
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0 || std::rename(partial_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(partial_.c_str());
    errno = error;
    fail("cannot be put in place");
  }
  if (sync == Sync::yes) sync_folder_of(path_);
}

void write_file_atomically(const std::string& path, std::string_view bytes, Sync sync) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit(sync);
}

}  // namespace striate
