#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "data/normalization.h"

namespace striate {

// A packed file: a dataset's pictures as 8-bit pixels in one file, made by PackedWriter and read by open_packed().
// Everything is little-endian; checksums are CRC-32C.
//
//   at 0               PackedHeader, 128 bytes
//   at 128             metadata, header.metadata_bytes: texts are a uint32 length and as many bytes
//                        source: text          what it was made from, for people
//                        recipe: text          lines "key: value": the dataset and how its pictures were changed; a
//                                              file is only gone on with by the same
//                        values: uint32        0, 1 or 3
//                        mean, std: float64    `values` of each: what the source's `normalize: dataset` is
//                        class names: text     header.classes of them
//   at index_offset    PackedEntry, 32 bytes each, room for header.capacity: a part's pictures behind the other's;
//                      after the last one zeros
//   at pixels_offset   the pictures' pixels [height, width, channels] in the order of the index, each at a multiple of
//                      64 bytes, zeros in between; the file ends with the last picture's pixels
//
// While a file is written its header says 0 bytes and 0 pictures; an entry is written after its pixels. That is what
// writing goes on from after an interruption.

inline constexpr std::string_view kPackedMagic = "\x89STRPK\r\n";  // CR LF: a transfer as text is noticed
inline constexpr uint32_t kPackedVersion = 1;
inline constexpr uint64_t kPackedAlignment = 64;  // a cache line

/// The parts in the order of the index.
inline constexpr std::array<const char*, 4> kPackedParts = {"train", "validation", "test", "unlabelled"};

struct PackedHeader {
  std::array<char, 8> magic{};
  uint32_t version = 0;
  uint32_t channels = 0;    ///< of every picture: 1 grey, 3 RGB
  uint64_t file_bytes = 0;  ///< 0 while the file is written
  uint64_t metadata_bytes = 0;
  uint64_t index_offset = 0;
  uint64_t capacity = 0;               ///< entries that the index has room for: the source's pictures
  std::array<uint64_t, 4> pictures{};  ///< of each part; 0 where the dataset has no such one
  uint64_t pixels_offset = 0;
  uint32_t classes = 0;
  uint32_t metadata_checksum = 0;
  uint32_t index_checksum = 0;         ///< of the entries in use
  std::array<uint8_t, 24> reserved{};  ///< zeros
  uint32_t header_checksum = 0;        ///< of the 124 bytes before it
};
static_assert(sizeof(PackedHeader) == 128 && std::is_trivially_copyable_v<PackedHeader>);

struct PackedEntry {
  uint64_t offset = 0;  ///< of the pixels, from the file's start
  uint32_t height = 0, width = 0;
  int32_t label = 0;            ///< the class; −1 in the unlabelled part
  uint32_t source = 0;          ///< the picture's number in the source, counted through its parts
  uint32_t pixel_checksum = 0;  ///< of height·width·channels bytes
  uint32_t entry_checksum = 0;  ///< of the 28 bytes before it
};
static_assert(sizeof(PackedEntry) == 32 && std::is_trivially_copyable_v<PackedEntry>);

struct PackedMetadata {
  std::string source, recipe;
  Normalization normalization;  ///< empty where the source has none
  std::vector<std::string> class_names;

  std::string bytes() const;
  /// Throws IoError that begins with `file` where the bytes are not those of `classes` classes.
  static PackedMetadata parse(std::string_view bytes, uint32_t classes, const std::string& file);
};

/// Of all parts.
uint64_t packed_pictures(const PackedHeader& header);
uint32_t header_checksum(const PackedHeader& header);
uint32_t entry_checksum(const PackedEntry& entry);

/// Where a picture's pixels may begin after so many bytes.
constexpr uint64_t packed_aligned(uint64_t offset) {
  return (offset + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment;
}

/// Checks what a header says of a file of so many bytes: magic, version, checksum, places and counts. Nothing about the
/// pictures where the file is unfinished, which `file_bytes` tells. Throws IoError that begins with `file`.
void check_packed_header(const PackedHeader& header, uint64_t bytes_in_file, const std::string& file);

/// The bytes of an entry's pixels; 0 where it is no picture that can lie in the file's first `end` bytes.
uint64_t packed_pixel_bytes(const PackedEntry& entry, const PackedHeader& header, uint64_t end);

}  // namespace striate
