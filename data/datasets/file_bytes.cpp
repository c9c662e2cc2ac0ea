#include "data/datasets/file_bytes.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "kernels/error.h"

namespace striate {
namespace {

constexpr size_t kSmallestChunk = size_t{1} << 12, kLargestChunk = size_t{1} << 20;

struct GzClose {
  void operator()(gzFile_s* file) const { gzclose_r(file); }
};

}  // namespace

std::vector<uint8_t> read_file(const std::filesystem::path& file, uint64_t limit) {
  std::error_code code;
  require<IoError>(!std::filesystem::is_directory(file, code), "{}: expected a file, found a folder", file.string());
  errno = 0;
  // gzopen reads what is not gzipped as it is.
  std::unique_ptr<gzFile_s, GzClose> in(gzopen(file.c_str(), "rb"));
  require<IoError>(in != nullptr, "{}: cannot open: {}", file.string(),
                   errno != 0 ? std::strerror(errno) : "out of memory");
  // Nothing is taken for a small file that a large one needs.
  const auto on_disk = std::filesystem::file_size(file, code);
  const size_t chunk = code ? kLargestChunk : std::clamp<size_t>(on_disk + 1, kSmallestChunk, kLargestChunk);
  gzbuffer(in.get(), static_cast<unsigned>(std::min(chunk, kLargestChunk / 4)));
  std::vector<uint8_t> bytes;
  for (;;) {
    const size_t have = bytes.size();
    bytes.resize(have + chunk);
    const int got = gzread(in.get(), bytes.data() + have, static_cast<unsigned>(chunk));
    int status = Z_OK;
    const char* message = gzerror(in.get(), &status);
    bytes.resize(have + (got > 0 ? static_cast<size_t>(got) : 0));
    if (status == Z_BUF_ERROR) {
      throw IoError(
          fmt::format("{}: the gzip stream is truncated: it ends after {} uncompressed bytes; fetch the file "
                      "again",
                      file.string(), bytes.size()));
    }
    if (got < 0 || (status != Z_OK && status != Z_STREAM_END)) {
      throw IoError(fmt::format("{}: cannot read past uncompressed byte {}: {}", file.string(), have,
                                status == Z_ERRNO ? std::strerror(errno) : message));
    }
    require<IoError>(bytes.size() <= limit, "{}: holds more than the {} bytes that were expected", file.string(),
                     limit);
    if (got == 0) break;
  }
  return bytes;
}

std::vector<std::string> read_lines(const std::filesystem::path& file) {
  const auto bytes = read_file(file, uint64_t{1} << 26);
  std::vector<std::string> lines;
  std::string line;
  const auto finish = [&] {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
    line.clear();
  };
  for (const uint8_t byte : bytes) {
    if (byte == '\n') {
      finish();
    } else {
      line.push_back(static_cast<char>(byte));
    }
  }
  finish();
  return lines;
}

std::vector<std::string> read_class_names(const std::filesystem::path& file, int expected) {
  auto names = read_lines(file);
  require<IoError>(expected == 0 ? !names.empty() : static_cast<int>(names.size()) == expected,
                   "{}: expected {} class names, one a line, found {}", file.string(),
                   expected == 0 ? std::string("some") : std::to_string(expected), names.size());
  return names;
}

}  // namespace striate
