// A packed file: opened, every picture loaded, checked whole. Mutated with its checksums and its length set right again
// as a rule, since no mutation would come past them.
#include "data/datasets/packed/packed.h"

#include <algorithm>
#include <cstring>

#include "data/datasets/packed/packed_format.h"
#include "engine/crc32c.h"
#include "kernels/error.h"
#include "tests/fuzz/input.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace striate::fuzz {
namespace {

template <typename T>
void put(uint8_t* data, size_t at, const T& value) {
  std::memcpy(data + at, &value, sizeof value);
}

/// As a writer of the same contents would have left them.
void set_right(uint8_t* data, size_t size) {
  PackedHeader header;
  if (size < sizeof header) return;
  std::memcpy(&header, data, sizeof header);
  std::memcpy(header.magic.data(), kPackedMagic.data(), kPackedMagic.size());
  header.version = kPackedVersion;
  header.file_bytes = size;
  if (header.metadata_bytes <= size - sizeof header) {
    header.metadata_checksum = crc32c(data + sizeof header, header.metadata_bytes);
  }
  const uint64_t pictures = packed_pictures(header);
  if (header.index_offset <= size && pictures <= (size - header.index_offset) / sizeof(PackedEntry)) {
    for (uint64_t i = 0; i < pictures; ++i) {
      const size_t at = header.index_offset + i * sizeof(PackedEntry);
      PackedEntry entry;
      std::memcpy(&entry, data + at, sizeof entry);
      const uint64_t bytes = packed_pixel_bytes(entry, header, size);
      if (bytes > 0) entry.pixel_checksum = crc32c(data + entry.offset, bytes);
      entry.entry_checksum = entry_checksum(entry);
      put(data, at, entry);
    }
    header.index_checksum = crc32c(data + header.index_offset, pictures * sizeof(PackedEntry));
  }
  header.header_checksum = header_checksum(header);
  put(data, 0, header);
}

}  // namespace

void read_input(std::string_view input) {
  static const Folder folder;
  const std::string path = folder.put("data.packed", input);
  const DatasetParts parts = open_packed(path);
  packed_normalization(path);
  Image image;
  for (const auto& part : {parts.train, parts.validation, parts.test, parts.unlabelled}) {
    for (int64_t i = 0; part != nullptr && i < part->size(); ++i) {
      const int label = part->label(i);
      expect(label >= kUnlabelled && label < part->classes(), "labels within the classes");
      try {
        part->load(i, image);
      } catch (const IoError&) {
        continue;  // this one is damaged
      }
      expect(image.height > 0 && image.width > 0 && image.channels == part->channels(), "a picture of some size");
      expect(image.pixels.size() == static_cast<size_t>(image.height) * image.row_bytes(), "all of its pixels");
    }
  }
  check_packed(path, [](int64_t, int64_t) { return true; });
}

}  // namespace striate::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 != 0) striate::fuzz::set_right(data, size);
  return size;
}
