#include "models/weights/zip_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <string_view>

#include "kernels/error.h"

namespace striate::models {
namespace {
constexpr size_t kBlockBytes = 1 << 16;
}

void ZipReader::Close::operator()(archive* opened) const { archive_read_free(opened); }

ZipReader::ZipReader(const std::string& path) : path_(path), archive_(archive_read_new()) {
  std::error_code error;
  file_size_ = static_cast<int64_t>(std::filesystem::file_size(path, error));
  require<IoError>(!error, "{}: cannot be read: {}", path, error.message());
  if (archive_ == nullptr || archive_read_support_format_zip_seekable(archive_.get()) != ARCHIVE_OK ||
      archive_read_open_filename(archive_.get(), path.c_str(), kBlockBytes) != ARCHIVE_OK) {
    fail("cannot be opened as a zip archive");
  }
}

ZipReader::~ZipReader() = default;

bool ZipReader::next() {
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(archive_.get(), &entry);
  if (status == ARCHIVE_EOF) return false;
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail("is a damaged zip archive");
  // torch marks names as UTF-8, which no locale should change.
  const char* name = archive_entry_pathname_utf8(entry);
  if (name == nullptr) name = archive_entry_pathname(entry);
  name_ = name == nullptr ? "" : name;
  if (archive_entry_is_encrypted(entry) != 0) fail(fmt::format("'{}' is encrypted", name_));
  if (archive_entry_size_is_set(entry) == 0) fail(fmt::format("'{}' has no size", name_));
  // libarchive names an entry's method here alone. Some methods take as much memory as the entry asks for (PPMd 256
  // MB).
  const std::string_view method = archive_format_name(archive_.get());
  require<IoError>(method.find("(uncompressed)") != std::string_view::npos,
                   "{}: '{}' is compressed ({}); torch.save stores values uncompressed", path_, name_, method);
  size_ = archive_entry_size(entry);
  require<IoError>(size_ >= 0 && size_ <= file_size_, "{}: '{}' claims {} bytes in a file of {}", path_, name_, size_,
                   file_size_);
  return true;
}

std::string ZipReader::read() {
  std::string bytes(static_cast<size_t>(size_), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const la_ssize_t got = archive_read_data(archive_.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0) fail(fmt::format("'{}' cannot be read", name_));
    require<IoError>(got > 0, "{}: '{}' ends after {} of {} bytes", path_, name_, done, bytes.size());
    done += static_cast<size_t>(got);
  }
  char one_more = 0;
  const la_ssize_t rest = archive_read_data(archive_.get(), &one_more, 1);  // checks the checksum, too
  if (rest < 0) fail(fmt::format("'{}' cannot be read", name_));
  require<IoError>(rest == 0, "{}: '{}' is longer than the {} bytes that it claims", path_, name_, size_);
  return bytes;
}

void ZipReader::fail(const std::string& what) const {
  const char* reason = archive_ == nullptr ? nullptr : archive_error_string(archive_.get());
  throw IoError(fmt::format("{}: {}{}{}", path_, what, reason == nullptr ? "" : ": ", reason == nullptr ? "" : reason));
}

}  // namespace striate::models
