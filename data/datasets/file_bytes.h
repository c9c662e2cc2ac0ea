#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace striate {

/// A whole file, gunzipped on the way if it is gzipped. Reading stops with an IoError as soon as more than `limit`
/// bytes would come out. Throws IoError that names the file if it is missing, cannot be read, is truncated, or fails
/// its checksum. Memory grows with what the file really holds, never with what a header claims.
std::vector<uint8_t> read_file(const std::filesystem::path& file, uint64_t limit = uint64_t{1} << 34);

/// A file's lines without their line ends; blank ones left out.
std::vector<std::string> read_lines(const std::filesystem::path& file);

/// Class names, a name a line. Throws IoError if there are not exactly `expected` of them (0: any number but none).
std::vector<std::string> read_class_names(const std::filesystem::path& file, int expected);

}  // namespace striate
