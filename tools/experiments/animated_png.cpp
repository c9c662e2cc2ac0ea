#include "tools/experiments/animated_png.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cmath>
#include <cstdint>
#include <string_view>

#include "kernels/error.h"

namespace striate {
namespace {

void append_32(std::string& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
}

void append_16(std::string& bytes, uint32_t value) {
  for (int shift = 8; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
}

/// Length, name, contents, checksum of the latter two.
void append_chunk(std::string& bytes, std::string_view name, const std::string& contents) {
  append_32(bytes, static_cast<uint32_t>(contents.size()));
  const size_t begin = bytes.size();
  bytes += name;
  bytes += contents;
  append_32(bytes, static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + begin),
                                               static_cast<uInt>(bytes.size() - begin))));
}

/// Rows as differences to the row above (filter 2), in which enlarged pixels are zeros, deflated.
std::string deflated(const Image& image) {
  constexpr char kUp = 2;
  std::string rows;
  rows.reserve(static_cast<size_t>(image.height) * (image.row_bytes() + 1));
  for (int y = 0; y < image.height; ++y) {
    rows += kUp;
    for (size_t i = 0; i < image.row_bytes(); ++i) {
      const uint8_t above = y > 0 ? image.row(y - 1)[i] : uint8_t{0};
      rows += static_cast<char>(image.row(y)[i] - above);
    }
  }
  uLongf size = compressBound(rows.size());
  std::string packed(size, '\0');
  const int done = compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                             reinterpret_cast<const Bytef*>(rows.data()), rows.size(), Z_BEST_COMPRESSION);
  require<Error>(done == Z_OK, "film: zlib could not compress a frame (error {})", done);
  packed.resize(size);
  return packed;
}

/// How a frame is shown: the whole picture, for its time, replacing the one before.
std::string frame_control(uint32_t sequence, const FilmFrame& frame) {
  constexpr uint32_t kHundredths = 100;
  std::string control;
  append_32(control, sequence);
  append_32(control, static_cast<uint32_t>(frame.image.width));
  append_32(control, static_cast<uint32_t>(frame.image.height));
  append_32(control, 0);
  append_32(control, 0);
  append_16(control, static_cast<uint32_t>(std::lround(frame.seconds * kHundredths)));
  append_16(control, kHundredths);
  control += std::string(2, '\0');  // leave the picture; overwrite
  return control;
}

}  // namespace

std::string encode_animated_png(const std::vector<FilmFrame>& frames) {
  require<ShapeError>(!frames.empty(), "film: no frames");
  const Image& first = frames.front().image;
  for (const FilmFrame& frame : frames) {
    require<ShapeError>(frame.image.channels == 3 && frame.image.width > 0 && frame.image.height > 0 &&
                            frame.image.width == first.width && frame.image.height == first.height,
                        "film: a frame of {}×{} pixels and {} channels among RGB frames of {}×{}", frame.image.height,
                        frame.image.width, frame.image.channels, first.height, first.width);
  }
  std::string bytes("\x89PNG\r\n\x1a\n", 8), header, animation;
  append_32(header, static_cast<uint32_t>(first.width));
  append_32(header, static_cast<uint32_t>(first.height));
  header += {8, 2, 0, 0, 0};  // bits, RGB, deflate, filters, not interlaced
  append_chunk(bytes, "IHDR", header);
  append_32(animation, static_cast<uint32_t>(frames.size()));
  append_32(animation, 0);  // for ever
  append_chunk(bytes, "acTL", animation);
  uint32_t sequence = 0;
  for (const FilmFrame& frame : frames) {
    append_chunk(bytes, "fcTL", frame_control(sequence++, frame));
    if (&frame == &frames.front()) {
      append_chunk(bytes, "IDAT", deflated(frame.image));
      continue;
    }
    std::string data;
    append_32(data, sequence++);
    data += deflated(frame.image);
    append_chunk(bytes, "fdAT", data);
  }
  append_chunk(bytes, "IEND", "");
  return bytes;
}

}  // namespace striate
