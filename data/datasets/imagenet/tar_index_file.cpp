// How the index of a tar is kept in a file.

#include <fmt/format.h>
#include <zlib.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <system_error>
#include <utility>

#include "data/datasets/imagenet/tar_index.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

// The file: this header, the pictures as they lie in memory, the folders' names with a zero byte behind each, the
// pictures' names, the CRC-32 of all that. It is a cache of this machine's: in its byte order.
struct Header {
  char magic[8];
  uint32_t version, layout;
  uint64_t tar_size;
  int64_t tar_modified_ns;
  uint64_t pictures, folders, folder_bytes, name_bytes;
};
static_assert(sizeof(Header) == 64);
static_assert(sizeof(TarIndex::Picture) == 24);

constexpr char kMagic[8] = {'s', 't', 'r', 'i', 'a', 't', 'a', 'r'};
constexpr uint32_t kVersion = 1;
constexpr size_t kSumBytes = sizeof(uint32_t);

uint32_t checksum(std::string_view bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string_view as_bytes(const void* data, size_t count) { return {static_cast<const char*>(data), count}; }

bool is_of(const Header& header, const RandomAccessFile& tar, TarIndex::Layout layout) {
  return std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.version == kVersion &&
         header.layout == static_cast<uint32_t>(layout) && header.tar_size == tar.size() &&
         header.tar_modified_ns == tar.modified_ns();
}

/// Whether the counts make up `bytes` behind the header. Each is held against them first, so that no sum overflows.
bool adds_up(const Header& header, uint64_t bytes) {
  return header.pictures <= bytes / sizeof(TarIndex::Picture) && header.folder_bytes <= bytes &&
         header.name_bytes <= bytes &&
         header.pictures * sizeof(TarIndex::Picture) + header.folder_bytes + header.name_bytes + kSumBytes == bytes;
}

/// The index in a file, if that is the tar's and whole.
std::optional<TarIndex> read_index(const fs::path& file, const RandomAccessFile& tar, TarIndex::Layout layout) {
  try {
    const RandomAccessFile in(file);
    Header header;
    in.read(0, {reinterpret_cast<uint8_t*>(&header), sizeof header});
    // Before memory is taken for what the file may claim to hold. An index is smaller than its tar.
    if (!is_of(header, tar, layout) || in.size() > tar.size() || !adds_up(header, in.size() - sizeof header)) {
      return std::nullopt;
    }
    std::string bytes(in.size(), '\0');
    in.read(0, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    return TarIndex::parse(bytes, tar, layout);
  } catch (const IoError&) {
    return std::nullopt;
  }
}

std::string gigabytes(uint64_t bytes) { return fmt::format("{:.1f} GB", static_cast<double>(bytes) * 1e-9); }

/// Says at once what is going on, and how far it is every few seconds.
class Progress {
 public:
  Progress(const RandomAccessFile& tar, std::function<void(const std::string&)> notice)
      : tar_(tar), notice_(std::move(notice)), begun_(Clock::now()), told_(begun_) {}

  void operator()(uint64_t bytes, size_t pictures) {
    if (pictures % 256 != 0 || Clock::now() - told_ < std::chrono::seconds(5)) return;
    told_ = Clock::now();
    notice_(fmt::format("{}: {} of {} indexed, {} pictures", tar_.path(), gigabytes(bytes), gigabytes(tar_.size()),
                        pictures));
  }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  const RandomAccessFile& tar_;
  std::function<void(const std::string&)> notice_;
  Clock::time_point begun_, told_;
};

/// The file that holds the index now; empty, with the reasons in `why`, where none could be written.
fs::path keep(const TarIndex& index, const RandomAccessFile& tar, TarIndex::Layout layout,
              const std::vector<fs::path>& files, std::string& why) {
  const std::string bytes = index.serialized(tar, layout);
  for (const fs::path& file : files) {
    try {
      std::error_code ignored;
      // The folder beside the tar is there; only the cache's may have to be made.
      if (file != files.front()) fs::create_directories(file.parent_path(), ignored);
      write_file_atomically(file.string(), bytes);
      return file;
    } catch (const IoError& error) {
      if (read_index(file, tar, layout)) return file;  // of another process that began at the same time
      why += fmt::format("{}{}", why.empty() ? "" : "; ", error.what());
    }
  }
  return {};
}

}  // namespace

std::string TarIndex::serialized(const RandomAccessFile& tar, Layout layout) const {
  std::string folder_names;
  for (const std::string& folder : folders_) folder_names += folder + '\0';
  Header header{{},
                kVersion,
                static_cast<uint32_t>(layout),
                tar.size(),
                tar.modified_ns(),
                pictures_.size(),
                folders_.size(),
                folder_names.size(),
                names_.size()};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::string bytes(as_bytes(&header, sizeof header));
  bytes.reserve(sizeof header + pictures_.size() * sizeof(Picture) + folder_names.size() + names_.size() + 4);
  bytes += as_bytes(pictures_.data(), pictures_.size() * sizeof(Picture));
  bytes += folder_names;
  bytes += names_;
  const uint32_t sum = checksum(bytes);
  bytes += as_bytes(&sum, sizeof sum);
  return bytes;
}

std::optional<TarIndex> TarIndex::parse(std::string_view bytes, const RandomAccessFile& tar, Layout layout) {
  Header header;
  if (bytes.size() < sizeof header + kSumBytes) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (!is_of(header, tar, layout) || !adds_up(header, bytes.size() - sizeof header)) return std::nullopt;
  uint32_t sum = 0;
  std::memcpy(&sum, bytes.data() + bytes.size() - kSumBytes, kSumBytes);
  bytes.remove_suffix(kSumBytes);
  if (checksum(bytes) != sum) return std::nullopt;
  bytes.remove_prefix(sizeof header);
  TarIndex index;
  index.pictures_.resize(header.pictures);
  if (header.pictures > 0) std::memcpy(index.pictures_.data(), bytes.data(), header.pictures * sizeof(Picture));
  bytes.remove_prefix(header.pictures * sizeof(Picture));
  std::string_view folder_names = bytes.substr(0, header.folder_bytes);
  for (size_t end; (end = folder_names.find('\0')) != std::string_view::npos; folder_names.remove_prefix(end + 1)) {
    index.folders_.emplace_back(folder_names.substr(0, end));
  }
  index.names_ = bytes.substr(header.folder_bytes);
  if (!folder_names.empty() || index.folders_.size() != header.folders) return std::nullopt;
  for (const Picture& picture : index.pictures_) {
    if (picture.folder >= index.folders_.size() || picture.offset > tar.size() ||
        picture.size > tar.size() - picture.offset || picture.name > index.names_.size() ||
        picture.name_length > index.names_.size() - picture.name) {
      return std::nullopt;
    }
  }
  return index;
}

std::vector<fs::path> tar_index_files(const fs::path& tar) {
  std::vector<fs::path> files = {tar.string() + ".index"};
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  fs::path folder;
  if (cache != nullptr && *cache == '/') {
    folder = cache;
  } else if (home != nullptr && *home == '/') {
    folder = fs::path(home) / ".cache";
  }
  if (!folder.empty()) {
    std::error_code ignored;
    const std::string place = fs::weakly_canonical(tar, ignored).string();
    files.push_back(folder / "striate" / fmt::format("{}-{:08x}.index", tar.filename().string(), checksum(place)));
  }
  return files;
}

TarIndex cached_tar_index(const RandomAccessFile& tar, TarIndex::Layout layout,
                          const std::function<void(const std::string&)>& notice) {
  const std::vector<fs::path> files = tar_index_files(tar.path());
  std::string old;
  for (const fs::path& file : files) {
    if (auto index = read_index(file, tar, layout)) return std::move(*index);
    std::error_code ignored;
    if (old.empty() && fs::exists(file, ignored)) old = file.string();
  }
  notice(fmt::format("{}: {}where its pictures lie is looked up once, in {}", tar.path(),
                     old.empty() ? "" : old + " is damaged, or of another version of the tar; ",
                     gigabytes(tar.size())));
  Progress progress(tar, notice);
  TarIndex index = TarIndex::build(tar, layout, [&](uint64_t bytes, size_t pictures) { progress(bytes, pictures); });
  const double seconds = progress.seconds();
  std::string why;
  const fs::path kept = keep(index, tar, layout, files, why);
  notice(fmt::format("{}: {} pictures indexed in {:.1f} s; {}", tar.path(), index.size(), seconds,
                     kept.empty() ? "the index cannot be kept, so the next run will do so again: " + why
                                  : "kept in " + kept.string()));
  return index;
}

}  // namespace striate
