#include "tests/support/event_reader.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "kernels/error.h"

namespace striate::test {
namespace {

constexpr size_t kLengthBytes = 8, kChecksumBytes = 4;

uint32_t masked_crc(std::string_view bytes) { return std::rotr(bitwise_crc32c(bytes), 15) + 0xa282ead8u; }

struct Field {
  uint64_t number = 0;
  uint64_t varint = 0;  // or the bits of a fixed one
  std::string_view bytes;
};

class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::vector<Field> fields() {
    std::vector<Field> fields;
    while (!bytes_.empty()) {
      const uint64_t key = varint();
      Field field;
      field.number = key >> 3;
      switch (key & 7) {
        case 0:
          field.varint = varint();
          break;
        case 1:
          field.varint = fixed(8);
          break;
        case 2:
          field.bytes = take(varint());
          break;
        case 5:
          field.varint = fixed(4);
          break;
        default:
          throw IoError(fmt::format("{}: a field of wire type {}", where_, key & 7));
      }
      fields.push_back(field);
    }
    return fields;
  }

 private:
  std::string_view take(uint64_t count) {
    require<IoError>(count <= bytes_.size(), "{}: a field of {} bytes where {} are left", where_, count, bytes_.size());
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  uint64_t fixed(size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, take(size).data(), size);
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw IoError(fmt::format("{}: a number of more than ten bytes", where_));
  }

  std::string_view bytes_;
  const std::string& where_;
};

std::vector<Field> decode(std::string_view message, const std::string& where) {
  return Message(message, where).fields();
}

void read_summary(std::string_view summary, const std::string& where, Event& event) {
  for (const Field& value : decode(summary, where)) {
    if (value.number != 1) continue;
    std::string tag;
    float scalar = NAN;
    for (const Field& part : decode(value.bytes, where)) {
      if (part.number == 1) tag = part.bytes;
      if (part.number == 2) scalar = std::bit_cast<float>(static_cast<uint32_t>(part.varint));
    }
    event.scalars[tag] = scalar;
  }
}

Event read_event(std::string_view data, const std::string& where) {
  Event event;
  for (const Field& field : decode(data, where)) {
    if (field.number == 1) event.wall_time = std::bit_cast<double>(field.varint);
    if (field.number == 2) event.step = static_cast<int64_t>(field.varint);
    if (field.number == 3) event.version = field.bytes;
    if (field.number == 5) read_summary(field.bytes, where, event);
    if (field.number != 7) continue;
    for (const Field& status : decode(field.bytes, where)) {
      if (status.number == 1) event.session_start = status.varint == 1;
    }
  }
  return event;
}

}  // namespace

uint32_t bitwise_crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = (crc & 1u) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
  }
  return crc ^ 0xffffffffu;
}

std::string event_record(std::string_view data) {
  const uint64_t length = data.size();
  std::string record(reinterpret_cast<const char*>(&length), kLengthBytes);
  const uint32_t length_crc = masked_crc(record), data_crc = masked_crc(data);
  record.append(reinterpret_cast<const char*>(&length_crc), kChecksumBytes);
  record.append(data);
  return record.append(reinterpret_cast<const char*>(&data_crc), kChecksumBytes);
}

std::vector<Event> read_events(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  require<IoError>(in.is_open(), "{}: cannot be opened", file.string());
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const std::string_view bytes = text;
  std::vector<Event> events;
  for (size_t at = 0; at < bytes.size();) {
    const std::string where = fmt::format("{}, record {} at byte {}", file.string(), events.size(), at);
    const auto checked = [&](size_t begin, uint64_t count) {
      require<IoError>(bytes.size() - begin >= kChecksumBytes && count <= bytes.size() - begin - kChecksumBytes,
                       "{}: claims {} bytes where the file has {}", where, count, bytes.size() - begin);
      const std::string_view data = bytes.substr(begin, count);
      uint32_t crc = 0;
      std::memcpy(&crc, bytes.data() + begin + count, kChecksumBytes);
      require<IoError>(crc == masked_crc(data), "{}: wrong checksum of {} bytes", where, count);
      return data;
    };
    uint64_t length = 0;
    std::memcpy(&length, checked(at, kLengthBytes).data(), kLengthBytes);
    at += kLengthBytes + kChecksumBytes;
    events.push_back(read_event(checked(at, length), where));
    at += length + kChecksumBytes;
  }
  return events;
}

}  // namespace striate::test
