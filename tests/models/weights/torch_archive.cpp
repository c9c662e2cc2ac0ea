#include "tests/models/weights/torch_archive.h"

#include <fstream>

namespace striate::test {
namespace {

template <typename T>
std::string little_endian(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

uint32_t crc32(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

}  // namespace

// PKWARE's APPNOTE.TXT, 4.3. Sizes stand in zip64's extra field where 32 bits do not hold them.
std::string zip_of(const std::vector<ZipEntry>& entries) {
  std::string archive, directory;
  for (const ZipEntry& e : entries) {
    const uint64_t size = e.claimed_size == UINT64_MAX ? e.bytes.size() : e.claimed_size;
    const bool is_large = size > 0xfffffffeu;
    const uint64_t packed = e.method == 0 ? size : e.bytes.size();
    std::string extra;
    if (is_large) {
      extra = little_endian<uint16_t>(1) + little_endian<uint16_t>(16) + little_endian(size) + little_endian(packed);
    }
    const auto size_field = [&](uint64_t value) {
      return little_endian(is_large ? 0xffffffffu : static_cast<uint32_t>(value));
    };
    const std::string body = little_endian<uint16_t>(45) + little_endian<uint16_t>(0) + little_endian(e.method) +
                             little_endian<uint32_t>(0) + little_endian(crc32(e.bytes)) + size_field(packed) +
                             size_field(size) + little_endian(static_cast<uint16_t>(e.name.size())) +
                             little_endian(static_cast<uint16_t>(extra.size()));
    directory += std::string("PK\x01\x02") + little_endian<uint16_t>(45) + body + little_endian<uint16_t>(0) +
                 little_endian<uint16_t>(0) + little_endian<uint16_t>(0) + little_endian<uint32_t>(0) +
                 little_endian(static_cast<uint32_t>(archive.size())) + e.name + extra;
    archive += std::string("PK\x03\x04") + body + e.name + extra + e.bytes;
  }
  const auto count = little_endian(static_cast<uint16_t>(entries.size()));
  return archive + directory + std::string("PK\x05\x06") + little_endian<uint32_t>(0) + count + count +
         little_endian(static_cast<uint32_t>(directory.size())) + little_endian(static_cast<uint32_t>(archive.size())) +
         little_endian<uint16_t>(0);
}

// APPNOTE.TXT, 5.11: order − 1 in 4 bits, megabytes − 1 in 8, how the model restarts in 4; then the range coder's
// bytes.
std::string wide_ppmd_stream() {
  return little_endian(static_cast<uint16_t>(5 | 255 << 4 | 0 << 12)) + std::string(20, '\0');
}

PickleWriter& PickleWriter::text(const std::string& value) {
  return raw(std::string("X") + little_endian(static_cast<uint32_t>(value.size())) + value);
}

PickleWriter& PickleWriter::number(int64_t value) {
  if (value >= 0 && value < 256) return raw(std::string("K") + little_endian(static_cast<uint8_t>(value)));
  if (value >= 0 && value < 65536) return raw(std::string("M") + little_endian(static_cast<uint16_t>(value)));
  if (value == static_cast<int32_t>(value)) return raw(std::string("J") + little_endian(static_cast<int32_t>(value)));
  return raw(std::string("\x8a\x08") + little_endian(value));
}

PickleWriter& PickleWriter::numbers(const std::vector<int64_t>& values) {
  raw("(");
  for (const int64_t value : values) number(value);
  return raw("t");
}

PickleWriter& PickleWriter::tensor(const std::string& type, const std::string& storage, int64_t elements,
                                   int64_t offset, const std::vector<int64_t>& shape,
                                   const std::vector<int64_t>& strides) {
  global("torch._utils", "_rebuild_tensor_v2").raw("((").text("storage").global("torch", type).text(storage);
  text("cpu").number(elements).raw("tQ").number(offset).numbers(shape).numbers(strides).raw("\x89");
  return global("collections", "OrderedDict").raw(")RtR");
}

void put_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace striate::test
