#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace striate::test {

/// What an event file's record holds.
struct Event {
  double wall_time = 0.0;
  int64_t step = 0;
  std::string version;
  std::map<std::string, float> scalars;
  bool session_start = false;
};

/// Reads an event file by what its formats say, sharing nothing with engine/train/event_file.cpp, which writes them:
/// TFRecord with a bitwise CRC, and protobuf's wire format by hand, with the field numbers of TensorFlow's event.proto
/// and summary.proto. Throws IoError, naming file and byte, for a file that is damaged or cut short.
std::vector<Event> read_events(const std::filesystem::path& file);

uint32_t bitwise_crc32c(std::string_view bytes);
/// A record as it stands in an event file: length, checksum, data, checksum.
std::string event_record(std::string_view data);

}  // namespace striate::test
