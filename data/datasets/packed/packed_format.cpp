#include "data/datasets/packed/packed_format.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "engine/crc32c.h"
#include "kernels/error.h"

namespace striate {
namespace {

static_assert(std::endian::native == std::endian::little,
              "packed files are little-endian, and values are copied as they lie");

constexpr uint64_t kMostMetadata = uint64_t{1} << 28;
constexpr uint64_t kMostPictures = uint64_t{1} << 32;  // an entry's `source` has 32 bits

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append(std::string& bytes, const std::string& text) {
  append(bytes, static_cast<uint32_t>(text.size()));
  bytes += text;
}

/// Takes values from the front of the metadata.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::string_view take(uint64_t count, const char* what) {
    require<IoError>(count <= bytes_.size() - at_,
                     "{}: {} at byte {}: expected {} more bytes of metadata, found {}; the file is damaged", file_,
                     what, sizeof(PackedHeader) + at_, count, bytes_.size() - at_);
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  template <typename T>
  T number(const char* what) {
    T value{};
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }
  std::string text(const char* what) { return std::string(take(number<uint32_t>(what), what)); }
  uint64_t rest() const { return bytes_.size() - at_; }

 private:
  std::string_view bytes_;
  const std::string& file_;
  size_t at_ = 0;
};

}  // namespace

std::string PackedMetadata::bytes() const {
  std::string bytes;
  append(bytes, source);
  append(bytes, recipe);
  append(bytes, static_cast<uint32_t>(normalization.mean.size()));
  for (const double value : normalization.mean) append(bytes, value);
  for (const double value : normalization.std) append(bytes, value);
  for (const std::string& name : class_names) append(bytes, name);
  return bytes;
}

PackedMetadata PackedMetadata::parse(std::string_view bytes, uint32_t classes, const std::string& file) {
  Reader reader(bytes, file);
  PackedMetadata metadata;
  metadata.source = reader.text("source");
  metadata.recipe = reader.text("recipe");
  const auto values = reader.number<uint32_t>("normalization");
  require<IoError>(values == 0 || values == 1 || values == 3,
                   "{}: normalization: expected 0, 1 or 3 means, found {}; the file is damaged", file, values);
  for (auto* numbers : {&metadata.normalization.mean, &metadata.normalization.std}) {
    for (uint32_t i = 0; i < values; ++i) numbers->push_back(reader.number<double>("normalization"));
  }
  for (uint32_t i = 0; i < values; ++i) {
    const double mean = metadata.normalization.mean[i], deviation = metadata.normalization.std[i];
    require<IoError>(std::isfinite(mean) && std::isfinite(deviation) && deviation > 0,
                     "{}: normalization: mean {} and deviation {} make no sense; the file is damaged", file, mean,
                     deviation);
  }
  for (uint32_t i = 0; i < classes; ++i) metadata.class_names.push_back(reader.text("class name"));
  require<IoError>(reader.rest() == 0, "{}: {} bytes of metadata after the class names; the file is damaged", file,
                   reader.rest());
  return metadata;
}

uint64_t packed_pictures(const PackedHeader& header) {
  return std::accumulate(header.pictures.begin(), header.pictures.end(), uint64_t{0});
}

uint32_t header_checksum(const PackedHeader& header) {
  return crc32c(&header, offsetof(PackedHeader, header_checksum));
}

uint32_t entry_checksum(const PackedEntry& entry) { return crc32c(&entry, offsetof(PackedEntry, entry_checksum)); }

void check_packed_header(const PackedHeader& header, uint64_t bytes_in_file, const std::string& file) {
  require<IoError>(std::memcmp(header.magic.data(), kPackedMagic.data(), kPackedMagic.size()) == 0,
                   "{}: not a packed file; the tool pack makes them", file);
  require<IoError>(header.version <= kPackedVersion, "{}: packed in version {} of the format, this build reads {}",
                   file, header.version, kPackedVersion);
  require<IoError>(header.version == kPackedVersion && header.header_checksum == header_checksum(header),
                   "{}: the checksum of its header does not match: the file is damaged; copy it again, or pack anew",
                   file);
  const auto sensible = [&](bool holds, const char* what) {
    require<IoError>(holds, "{}: its header makes no sense: {}; pack anew", file, what);
  };
  sensible(header.channels == 1 || header.channels == 3, "channels");
  sensible(header.metadata_bytes <= kMostMetadata, "metadata_bytes");
  sensible(header.index_offset == packed_aligned(sizeof(PackedHeader) + header.metadata_bytes), "index_offset");
  sensible(header.capacity <= kMostPictures, "capacity");
  sensible(header.pixels_offset == packed_aligned(header.index_offset + header.capacity * sizeof(PackedEntry)),
           "pixels_offset");
  sensible(header.classes <= header.metadata_bytes / sizeof(uint32_t), "classes");
  uint64_t pictures = 0;
  for (const uint64_t part : header.pictures) {
    sensible(part <= header.capacity - pictures, "pictures");
    pictures += part;
  }
  if (header.file_bytes == 0) return;
  require<IoError>(header.file_bytes == bytes_in_file,
                   "{}: expected {} bytes, found {}: the file is {}; copy it again, or pack anew", file,
                   header.file_bytes, bytes_in_file, bytes_in_file < header.file_bytes ? "cut short" : "too long");
  sensible(header.pixels_offset <= header.file_bytes, "file_bytes");
  sensible(header.pictures[0] > 0 || header.pictures[2] > 0, "pictures: neither train nor test");
}

uint64_t packed_pixel_bytes(const PackedEntry& entry, const PackedHeader& header, uint64_t end) {
  if (entry.offset < header.pixels_offset || entry.offset > end || entry.offset % kPackedAlignment != 0) return 0;
  // No product overflows: sides have 32 bits.
  const uint64_t pixels = uint64_t{entry.height} * entry.width;
  if (pixels == 0 || pixels > kMostPixels) return 0;
  const uint64_t bytes = pixels * header.channels;
  return bytes <= end - entry.offset ? bytes : 0;
}

}  // namespace striate
