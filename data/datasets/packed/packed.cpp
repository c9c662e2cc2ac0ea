#include "data/datasets/packed/packed.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "data/datasets/packed/mapped_file.h"
#include "data/datasets/packed/packed_format.h"
#include "engine/crc32c.h"
#include "kernels/error.h"

namespace striate {
namespace {

struct Head {
  PackedHeader header;
  PackedMetadata metadata;
};

/// What stands before the index, checked.
Head read_head(const MappedFile& map) {
  const std::string& path = map.path();
  Head head;
  require<IoError>(map.size() >= sizeof head.header, "{}: not a packed file; the tool pack makes them", path);
  map.fetch(0, sizeof head.header);
  std::memcpy(&head.header, map.data(), sizeof head.header);
  check_packed_header(head.header, map.size(), path);
  require<IoError>(head.header.file_bytes > 0, "{}: packing was not finished; the same call of pack goes on with it",
                   path);
  const uint64_t begin = sizeof head.header, bytes = head.header.metadata_bytes;
  map.fetch(begin, bytes);
  const std::string_view metadata(reinterpret_cast<const char*>(map.data()) + begin, bytes);
  require<IoError>(crc32c(metadata) == head.header.metadata_checksum,
                   "{}: the checksum of its metadata (bytes {} to {}) does not match: the file is damaged; copy it "
                   "again, or pack anew",
                   path, begin, begin + bytes);
  head.metadata = PackedMetadata::parse(metadata, head.header.classes, path);
  return head;
}

/// A packed file whose head and index are good.
class PackedFile {
 public:
  explicit PackedFile(const std::filesystem::path& file);

  const std::string& path() const { return map_.path(); }
  uint64_t bytes() const { return map_.size(); }
  const PackedHeader& header() const { return head_.header; }
  const PackedMetadata& metadata() const { return head_.metadata; }
  /// "FILE, train image 7", the image counted through all parts.
  std::string describe(int64_t index) const;
  /// An entry of the index. Others may write to a mapped file, so that it is checked again at every use.
  PackedEntry entry(int64_t index) const;
  /// The pixels of an entry, verified if they were not before; `count` of them from `begin` on are in memory.
  const uint8_t* pixels(int64_t index, const PackedEntry& entry, uint64_t begin, uint64_t count) const;

 private:
  MappedFile map_;
  Head head_;
  mutable std::vector<std::atomic<bool>> is_verified_;  // an image each
};

PackedFile::PackedFile(const std::filesystem::path& file) : map_(file.string()), head_(read_head(map_)) {
  const uint64_t count = packed_pictures(header());
  const uint64_t begin = header().index_offset, bytes = count * sizeof(PackedEntry);
  map_.fetch(begin, bytes);
  require<IoError>(crc32c(map_.data() + begin, bytes) == header().index_checksum,
                   "{}: the checksum of its index (bytes {} to {}) does not match: the file is damaged; copy it again, "
                   "or pack anew",
                   path(), begin, begin + bytes);
  for (uint64_t i = 0; i < count; ++i) entry(static_cast<int64_t>(i));
  is_verified_ = std::vector<std::atomic<bool>>(count);
}

std::string PackedFile::describe(int64_t index) const {
  size_t part = 0;
  auto within = static_cast<uint64_t>(index);
  while (part + 1 < kPackedParts.size() && within >= header().pictures[part]) within -= header().pictures[part++];
  return fmt::format("{}, {} image {}", path(), kPackedParts[part], within);
}

PackedEntry PackedFile::entry(int64_t index) const {
  PackedEntry entry;
  const uint64_t place = header().index_offset + static_cast<uint64_t>(index) * sizeof entry;
  std::memcpy(&entry, map_.data() + place, sizeof entry);
  const bool has_label = static_cast<uint64_t>(index) < packed_pictures(header()) - header().pictures.back();
  const bool is_label = has_label ? entry.label >= 0 && static_cast<uint32_t>(entry.label) < header().classes
                                  : entry.label == kUnlabelled;
  if (is_label && packed_pixel_bytes(entry, header(), header().file_bytes) > 0) return entry;
  throw IoError(
      fmt::format("{}: its entry in the index (byte {}) makes no sense: {}×{} pixels at byte {}, class {} of {}; "
                  "pack anew",
                  describe(index), place, entry.height, entry.width, entry.offset, entry.label, header().classes));
}

const uint8_t* PackedFile::pixels(int64_t index, const PackedEntry& entry, uint64_t begin, uint64_t count) const {
  const uint8_t* const pixels = map_.data() + entry.offset;
  std::atomic<bool>& is_verified = is_verified_[static_cast<size_t>(index)];
  if (is_verified.load(std::memory_order_relaxed)) {
    map_.fetch(entry.offset + begin, count);
    return pixels;
  }
  const uint64_t bytes = packed_pixel_bytes(entry, header(), header().file_bytes);
  map_.fetch(entry.offset, bytes);
  require<IoError>(crc32c(pixels, bytes) == entry.pixel_checksum,
                   "{}: the checksum of its pixels (bytes {} to {}) does not match: the file is damaged; copy it "
                   "again, or pack anew",
                   describe(index), entry.offset, entry.offset + bytes);
  is_verified.store(true, std::memory_order_relaxed);
  return pixels;
}

class PackedPart final : public Dataset {
 public:
  PackedPart(std::shared_ptr<const PackedFile> file, int64_t first, int64_t count)
      : file_(std::move(file)), first_(first), count_(count) {}

  int64_t size() const override { return count_; }
  const std::vector<std::string>& class_names() const override { return file_->metadata().class_names; }
  int channels() const override { return static_cast<int>(file_->header().channels); }
  int label(int64_t index) const override { return file_->entry(first_ + index).label; }
  using Dataset::load;
  void load(int64_t index, Image& image) const override { load_part(index, 0, whole_picture, image); }
  Part load_part(int64_t index, int64_t epoch, const ChoosePart& choose, Image& image) const override;
  std::string describe(int64_t index) const override { return file_->describe(first_ + index); }

 private:
  std::shared_ptr<const PackedFile> file_;
  int64_t first_, count_;
};

Part PackedPart::load_part(int64_t index, int64_t, const ChoosePart& choose, Image& image) const {
  const PackedEntry entry = file_->entry(first_ + index);
  const Window window = choose(static_cast<int>(entry.height), static_cast<int>(entry.width)).window;
  const size_t row_bytes = static_cast<size_t>(entry.width) * channels();
  const uint8_t* const pixels = file_->pixels(first_ + index, entry, window.top * row_bytes, window.height * row_bytes);
  image.reshape(window.height, window.width, channels());
  const uint8_t* row = pixels + window.top * row_bytes + static_cast<size_t>(window.left) * channels();
  for (int y = 0; y < window.height; ++y, row += row_bytes) std::memcpy(image.row(y), row, image.row_bytes());
  return {window};
}

}  // namespace

DatasetParts open_packed(const std::filesystem::path& file) {
  require<ConfigError>(!file.empty(), "data.path is not set; packed needs the file that the tool pack has made");
  const auto packed = std::make_shared<const PackedFile>(file);
  int64_t first = 0;
  const auto part = [&](size_t number) -> std::shared_ptr<const Dataset> {
    const auto count = static_cast<int64_t>(packed->header().pictures[number]);
    if (count == 0) return nullptr;
    return std::make_shared<PackedPart>(packed, std::exchange(first, first + count), count);
  };
  DatasetParts parts;
  parts.train = part(0);
  parts.validation = part(1);
  parts.test = part(2);
  parts.unlabelled = part(3);
  return parts;
}

Normalization packed_normalization(const std::filesystem::path& file) {
  return read_head(MappedFile(file.string())).metadata.normalization;
}

PackedSummary check_packed(const std::filesystem::path& file, const std::function<bool(int64_t, int64_t)>& progress) {
  const PackedFile packed(file);
  const PackedHeader& header = packed.header();
  PackedSummary summary{.source = packed.metadata().source,
                        .recipe = packed.metadata().recipe,
                        .images = static_cast<int64_t>(packed_pictures(header)),
                        .classes = static_cast<int>(header.classes),
                        .channels = static_cast<int>(header.channels),
                        .bytes = packed.bytes()};
  for (size_t part = 0; part < kPackedParts.size(); ++part) {
    if (header.pictures[part] > 0) summary.parts.emplace_back(kPackedParts[part], header.pictures[part]);
  }
  for (int64_t i = 0; i < summary.images; ++i) {
    packed.pixels(i, packed.entry(i), 0, 0);
    if (progress && !progress(i + 1, summary.images)) break;
  }
  return summary;
}

}  // namespace striate
