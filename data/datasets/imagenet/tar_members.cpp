#include "data/datasets/imagenet/tar_members.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "kernels/error.h"

namespace striate {
namespace {

constexpr uint64_t kBlock = 512;  // everything in a tar begins at a multiple of it
constexpr size_t kRead = 4096;    // a page: a header of a small member and the next come with one read

struct Close {
  void operator()(archive* opened) const { archive_read_free(opened); }
};

/// What libarchive's callbacks work on.
struct Source {
  const RandomAccessFile* file;
  FileRegion region;
  uint64_t position = 0;  // in the region
  std::array<uint8_t, kRead> buffer{};
  std::exception_ptr failure{};
};

la_ssize_t read_block(archive* reader, void* data, const void** bytes) {
  auto& source = *static_cast<Source*>(data);
  // libarchive is C: an exception may not pass through it.
  try {
    const uint64_t rest = source.region.size - source.position;
    const size_t got = source.file->read_some(source.region.offset + source.position,
                                              {source.buffer.data(), std::min<uint64_t>(rest, kRead)});
    source.position += got;
    *bytes = source.buffer.data();
    return static_cast<la_ssize_t>(got);
  } catch (...) {
    source.failure = std::current_exception();
    archive_set_error(reader, EIO, "cannot be read");
    return ARCHIVE_FATAL;
  }
}

la_int64_t skip(archive*, void* data, la_int64_t request) {
  auto& source = *static_cast<Source*>(data);
  const uint64_t skipped = std::min<uint64_t>(static_cast<uint64_t>(request), source.region.size - source.position);
  source.position += skipped;
  return static_cast<la_int64_t>(skipped);
}

/// Whether a further tar begins behind the zeros that end one, where libarchive, like tar itself, stops.
bool another_follows(const RandomAccessFile& file, FileRegion region, uint64_t place) {
  constexpr uint64_t kMagic = 257;  // "ustar" within a header
  std::array<uint8_t, kRead> page{};
  for (; place < region.size; place += kRead) {
    const size_t got =
        file.read_some(region.offset + place, {page.data(), std::min<uint64_t>(region.size - place, kRead)});
    const uint8_t* const end = page.data() + got;
    const uint8_t* const found = std::find_if<const uint8_t*>(page.data(), end, [](uint8_t byte) { return byte != 0; });
    if (found == end) continue;
    const uint8_t* const magic = page.data() + (found - page.data()) / kBlock * kBlock + kMagic;
    return magic + 5 <= end && std::memcmp(magic, "ustar", 5) == 0;
  }
  return false;
}

std::string name_of(archive_entry* entry) {
  const char* name = archive_entry_pathname_utf8(entry);
  if (name == nullptr) name = archive_entry_pathname(entry);
  if (name == nullptr) return {};
  std::string text = name;
  while (text.starts_with("./")) text.erase(0, 2);
  return text;
}

}  // namespace

void list_tar(const RandomAccessFile& file, FileRegion region, const std::string& name,
              const std::function<void(TarMember)>& found, const std::function<void(const std::string&)>& link) {
  Source source{&file, region};
  const std::unique_ptr<archive, Close> tar(archive_read_new());
  const auto fail = [&](uint64_t place, const std::string& what) {
    if (source.failure) std::rethrow_exception(source.failure);
    throw IoError(
        fmt::format("{}{}, byte {}: {}", file.path(), name.empty() ? "" : ": " + name, region.offset + place, what));
  };
  const auto reason = [&] {
    const char* text = tar == nullptr ? "out of memory" : archive_error_string(tar.get());
    return fmt::format("not a tar, or a damaged one ({}); fetch the file again",
                       text == nullptr ? "no reason given" : text);
  };
  if (tar == nullptr || archive_read_support_format_tar(tar.get()) != ARCHIVE_OK ||
      archive_read_set_read_callback(tar.get(), read_block) != ARCHIVE_OK ||
      archive_read_set_skip_callback(tar.get(), skip) != ARCHIVE_OK ||
      archive_read_set_callback_data(tar.get(), &source) != ARCHIVE_OK || archive_read_open1(tar.get()) != ARCHIVE_OK) {
    fail(0, reason());
  }
  for (;;) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(tar.get(), &entry);
    const auto header = static_cast<uint64_t>(archive_read_header_position(tar.get()));
    if (status == ARCHIVE_EOF) {
      // A tar that was cut where a member ends looks whole to libarchive.
      std::array<uint8_t, kBlock> end{};
      const bool whole = header <= region.size && region.size - header >= kBlock;
      if (whole) file.read(region.offset + header, end);
      if (!whole || std::any_of(end.begin(), end.end(), [](uint8_t byte) { return byte != 0; })) {
        fail(header, "it ends without the zeros that end a tar: it is cut short; fetch the file again");
      }
      if (another_follows(file, region, header)) {
        fail(header, "the tar ends here, but another begins behind it; extract both and write one tar of them");
      }
      return;
    }
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail(header, reason());
    std::string member = name_of(entry);
    if (archive_entry_hardlink(entry) != nullptr || archive_entry_filetype(entry) == AE_IFLNK) {
      link(member);
      continue;
    }
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    if (archive_entry_sparse_count(entry) > 0) {
      fail(header, fmt::format("{} is stored with holes, which cannot be read in place; write the tar without --sparse",
                               member));
    }
    const auto begin = static_cast<uint64_t>(archive_filter_bytes(tar.get(), 0));
    const int64_t size = archive_entry_size(entry);
    if (size < 0 || begin > region.size || static_cast<uint64_t>(size) > region.size - begin) {
      fail(header, fmt::format("{} should have {} bytes from byte {} on, but the tar ends at byte {}: it is cut short; "
                               "fetch the file again",
                               member, size, region.offset + begin, region.offset + region.size));
    }
    found({std::move(member), {region.offset + begin, static_cast<uint64_t>(size)}});
  }
}

}  // namespace striate
