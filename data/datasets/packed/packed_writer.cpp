#include "data/datasets/packed/packed_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <sstream>
#include <utility>

#include "engine/crc32c.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// Pixels between two waits for the disk. After a loss of power no more than the last two stretches can be amiss, and
/// so much is verified before writing goes on.
constexpr uint64_t kSyncBytes = uint64_t{1} << 30;

std::map<std::string, std::string> lines_of(const std::string& recipe) {
  std::map<std::string, std::string> lines;
  std::istringstream in(recipe);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = std::min(line.find(": "), line.size());
    lines[line.substr(0, colon)] = colon < line.size() ? line.substr(colon + 2) : "";
  }
  return lines;
}

/// "resize of train: 256 there, 224 now" for every line that is not the same.
std::string differences(const std::string& there, const std::string& now) {
  auto before = lines_of(there);
  const auto after = lines_of(now);
  for (const auto& [key, value] : after) before.try_emplace(key, "nothing");
  std::string text;
  for (const auto& [key, value] : before) {
    const auto found = after.find(key);
    const std::string other = found == after.end() ? "nothing" : found->second;
    if (value != other) text += fmt::format("{}{}: {} there, {} now", text.empty() ? "" : "; ", key, value, other);
  }
  return text.empty() ? "class names or normalization" : text;
}

}  // namespace

PackedWriter::PackedWriter(std::string file, const Contents& contents)
    : path_(std::move(file)),
      partial_(path_ + ".partial"),
      source_pictures_(contents.pictures),
      metadata_(contents.metadata.bytes()) {
  std::copy(kPackedMagic.begin(), kPackedMagic.end(), header_.magic.begin());
  header_.version = kPackedVersion;
  header_.channels = static_cast<uint32_t>(contents.channels);
  header_.metadata_bytes = metadata_.size();
  header_.index_offset = packed_aligned(sizeof header_ + metadata_.size());
  header_.capacity = std::accumulate(source_pictures_.begin(), source_pictures_.end(), uint64_t{0});
  header_.pixels_offset = packed_aligned(header_.index_offset + header_.capacity * sizeof(PackedEntry));
  header_.classes = static_cast<uint32_t>(contents.metadata.class_names.size());
  header_.metadata_checksum = crc32c(metadata_);
  header_.header_checksum = header_checksum(header_);
  check_packed_header(header_, 0, path_);  // what could not be read again is not written
  end_ = header_.pixels_offset;

  descriptor_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw IoError(fmt::format("{}: cannot be created: {}", path_, std::strerror(errno)));
  try {
    require<IoError>(::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK,
                     "{}: another process is writing it", partial_);
    struct stat info {
    }, named{};
    if (::fstat(descriptor_, &info) != 0) fail("cannot be read");
    require<IoError>(::stat(partial_.c_str(), &named) == 0 && named.st_ino == info.st_ino,
                     "{}: another process has just finished it", partial_);
    if (info.st_size == 0) {
      begin();
    } else {
      go_on();
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

void PackedWriter::check_place(const std::string& file) {
  std::error_code code;
  const std::filesystem::path path(file), folder = path.has_parent_path() ? path.parent_path() : ".";
  require<IoError>(!std::filesystem::is_directory(path, code), "{}: that is a folder; a file is wanted", file);
  require<IoError>(std::filesystem::is_directory(folder, code), "{}: cannot be created: there is no folder {}", file,
                   folder.string());
  require<IoError>(::access(folder.c_str(), W_OK) == 0, "{}: cannot be created: {}: {}", file, folder.string(),
                   std::strerror(errno));
}

PackedWriter::~PackedWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void PackedWriter::fail(const std::string& what) const {
  const int error = errno;
  throw IoError(fmt::format("{}: {}: {}; {} images stay in {}, and the same call goes on after them", path_, what,
                            std::strerror(error), entries_.size(), partial_));
}

void PackedWriter::write(uint64_t offset, const void* bytes, size_t count) {
  const auto* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::pwrite(descriptor_, next, count, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    next += written;
    offset += static_cast<uint64_t>(written);
    count -= static_cast<size_t>(written);
  }
}

void PackedWriter::read(uint64_t offset, void* bytes, size_t count) const {
  auto* next = static_cast<char*>(bytes);
  while (count > 0) {
    const ssize_t got = ::pread(descriptor_, next, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = EIO;
    if (got <= 0) fail("what was written cannot be read");
    next += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
}

void PackedWriter::sync() const {
  if (::fdatasync(descriptor_) != 0) fail("cannot be written to disk");
}

void PackedWriter::begin() {
  // The header last: without it nobody goes on with the file.
  write(sizeof header_, metadata_.data(), metadata_.size());
  write(0, &header_, sizeof header_);
}

bool PackedWriter::has_its_pixels(const PackedEntry& entry) {
  std::vector<uint8_t> pixels(uint64_t{entry.height} * entry.width * header_.channels);
  read(entry.offset, pixels.data(), pixels.size());
  return crc32c(pixels.data(), pixels.size()) == entry.pixel_checksum;
}

uint64_t PackedWriter::whole_entries(uint64_t bytes_in_file) {
  uint64_t end = end_;
  int64_t next = 0;
  for (const PackedEntry& entry : entries_) {
    const uint64_t bytes = packed_pixel_bytes(entry, header_, bytes_in_file);
    if (entry.entry_checksum != entry_checksum(entry) || bytes == 0 || entry.offset != packed_aligned(end) ||
        entry.source < next) {
      return static_cast<uint64_t>(&entry - entries_.data());
    }
    end = entry.offset + bytes;
    next = int64_t{entry.source} + 1;
  }
  return entries_.size();
}

void PackedWriter::go_on() {
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0) fail("cannot be read");
  const auto bytes_in_file = static_cast<uint64_t>(info.st_size);
  PackedHeader there;
  read(0, &there, std::min<uint64_t>(bytes_in_file, sizeof there));
  if (there.magic == std::array<char, 8>{}) {  // stopped before its header was written
    if (::ftruncate(descriptor_, 0) != 0) fail("cannot be written");
    return begin();
  }
  check_packed_header(there, bytes_in_file, partial_);
  require<IoError>(bytes_in_file >= sizeof there + there.metadata_bytes, "{}: cut short; delete it", partial_);
  std::string metadata(there.metadata_bytes, '\0');
  read(sizeof there, metadata.data(), metadata.size());
  require<IoError>(crc32c(metadata) == there.metadata_checksum, "{}: damaged; delete it", partial_);
  // Stopped after the header was completed: the file is then the same but for what stands in it.
  const bool is_complete = there.file_bytes > 0;
  there.file_bytes = 0;
  there.pictures = {};
  there.index_checksum = 0;
  if (header_checksum(there) != header_.header_checksum || metadata != metadata_) {
    throw ConfigError(fmt::format(
        "{} was begun with other data or options ({}); delete it to begin anew, or choose another --output", partial_,
        differences(PackedMetadata::parse(metadata, there.classes, partial_).recipe,
                    PackedMetadata::parse(metadata_, header_.classes, path_).recipe)));
  }

  if (is_complete) write(0, &header_, sizeof header_);

  const uint64_t begun = std::min(
      header_.capacity, (std::max(bytes_in_file, header_.index_offset) - header_.index_offset) / sizeof(PackedEntry));
  entries_.resize(begun);
  read(header_.index_offset, entries_.data(), begun * sizeof(PackedEntry));
  uint64_t whole = whole_entries(bytes_in_file);
  uint64_t verified = 0;
  for (uint64_t i = whole; i-- > 0 && verified < 2 * kSyncBytes;) {
    if (!has_its_pixels(entries_[i])) whole = i;
    verified += packed_pixel_bytes(entries_[i], header_, bytes_in_file);
  }
  entries_.resize(whole);
  if (whole > 0) {
    const PackedEntry& last = entries_.back();
    end_ = last.offset + packed_pixel_bytes(last, header_, bytes_in_file);
    next_ = int64_t{last.source} + 1;
  }
  // What follows the last whole picture goes, so that it cannot be in the way of what is written there.
  const std::vector<PackedEntry> none(begun - whole);
  write(header_.index_offset + whole * sizeof(PackedEntry), none.data(), none.size() * sizeof(PackedEntry));
  if (::ftruncate(descriptor_, static_cast<off_t>(whole > 0 ? end_ : header_.index_offset)) != 0) {
    fail("cannot be written");
  }
}

uint64_t PackedWriter::bytes_to_come() const {
  const double pixels = static_cast<double>(end_ - header_.pixels_offset);
  const double each = sizeof(PackedEntry) + pixels / static_cast<double>(std::max<int64_t>(next_, 1));
  return static_cast<uint64_t>(each * static_cast<double>(header_.capacity - static_cast<uint64_t>(next_)));
}

void PackedWriter::append(const Image& image, int label, uint32_t checksum) {
  PackedEntry entry;
  entry.offset = packed_aligned(end_);
  entry.height = static_cast<uint32_t>(image.height);
  entry.width = static_cast<uint32_t>(image.width);
  entry.label = label;
  entry.source = static_cast<uint32_t>(next_);
  entry.pixel_checksum = checksum;
  entry.entry_checksum = entry_checksum(entry);
  write(entry.offset, image.pixels.data(), image.pixels.size());
  if (unsynced_ += image.pixels.size(); unsynced_ > kSyncBytes) {
    sync();
    unsynced_ = 0;
  }
  write(header_.index_offset + entries_.size() * sizeof entry, &entry, sizeof entry);
  end_ = entry.offset + image.pixels.size();
  entries_.push_back(entry);
  ++next_;
}

void PackedWriter::finish() {
  PackedHeader header = header_;
  int64_t past = 0;
  size_t counted = 0;
  for (size_t part = 0; part < header.pictures.size(); ++part) {
    past += source_pictures_[part];
    while (counted < entries_.size() && entries_[counted].source < past) ++counted, ++header.pictures[part];
  }
  header.file_bytes = end_;
  header.index_checksum = crc32c(entries_.data(), entries_.size() * sizeof(PackedEntry));
  header.header_checksum = header_checksum(header);
  for (size_t part = 0; part < kPackedParts.size(); ++part) {
    require<IoError>(source_pictures_[part] == 0 || header.pictures[part] > 0,
                     "{}: every {} image of the source is broken", path_, kPackedParts[part]);
  }
  check_packed_header(header, end_, path_);
  sync();  // the header vouches for the rest
  write(0, &header, sizeof header);
  sync();
  put_in_place(partial_, path_);
  // Only now: the lock keeps others away from the partial file.
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace striate
