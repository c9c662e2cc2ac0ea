#include "data/image_file.h"

#include <cstdio>
#include <memory>

#include "data/jpeg.h"
#include "data/least_bytes.h"
#include "data/pnm.h"
#include "kernels/error.h"

// stb_image keeps to its own translation unit's names. Left out: formats without a magic number (TGA), with floats,
// those whose truncation stb_image neither reports nor lets us see (GIF, PSD), and PNM, whose levels it does not scale.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_JPEG
#define STBI_NO_TGA
#define STBI_NO_HDR
#define STBI_NO_PIC
#define STBI_NO_GIF
#define STBI_NO_PSD
#define STBI_NO_PNM
#define STBI_NO_LINEAR
#include <stb_image.h>

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

namespace striate {
namespace {

struct StbFree {
  void operator()(uint8_t* pixels) const { stbi_image_free(pixels); }
};

struct FileClose {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

void check_size(int64_t height, int64_t width, const std::string& name) {
  require<IoError>(width > 0 && height > 0 && width <= kMostPixels && height <= kMostPixels / width,
                   "{}: {}×{} pixels; expected 1 to {} pixels", name, height, width, kMostPixels);
}

uint32_t big_endian(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 | bytes[at + 3];
}

bool is_png(std::span<const uint8_t> bytes) {
  constexpr size_t kFirstChunk = 33;
  return bytes.size() >= kFirstChunk && std::memcmp(bytes.data(), "\x89PNG", 4) == 0;
}

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
constexpr bool kLooksAtChecksums = false;  // a fuzzer can make none
#else
constexpr bool kLooksAtChecksums = true;
#endif

/// stb_image takes memory for a chunk's length before it knows that there is as much, and looks at no checksum.
void check_png(std::span<const uint8_t> bytes, const std::string& name) {
  constexpr size_t kSignature = 8, kAroundData = 12;  // length, type and checksum
  for (size_t at = kSignature; at < bytes.size();) {
    require<IoError>(bytes.size() - at >= kAroundData && bytes.size() - at - kAroundData >= big_endian(bytes, at),
                     "{}: broken picture: a PNG chunk at byte {} is cut short", name, at);
    const size_t length = big_endian(bytes, at);
    // A capital letter marks what the picture cannot do without.
    const bool checked = kLooksAtChecksums && bytes[at + 4] >= 'A' && bytes[at + 4] <= 'Z';
    require<IoError>(!checked || crc32_z(0, bytes.data() + at + 4, length + 4) == big_endian(bytes, at + 8 + length),
                     "{}: broken picture: the PNG chunk at byte {} fails its checksum", name, at);
    if (std::memcmp(bytes.data() + at + 4, "IEND", 4) == 0) return;
    at += kAroundData + length;
  }
}

void decode_with_stb(std::span<const uint8_t> bytes, const std::string& name, Image& image) {
  require<IoError>(bytes.size() <= INT_MAX, "{}: {} bytes is too large for a picture", name, bytes.size());
  const int length = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  if (is_png(bytes)) check_size(big_endian(bytes, 20), big_endian(bytes, 16), name);  // before stb_image is at a loss
  require<IoError>(stbi_info_from_memory(bytes.data(), length, &width, &height, &channels) != 0,
                   "{}: not a picture in a known format (JPEG, PNG, BMP, PNM): it begins with {:02x} {:02x}", name,
                   bytes[0], bytes[1]);
  if (height > INT_MIN && height < 0) height = -height;  // a BMP whose first row is the top one
  check_size(height, width, name);
  const uint64_t least = least_bytes(bytes, height, width);
  require<IoError>(bytes.size() >= least, "{}: broken picture: expected {} bytes at least, found {}; it is cut short",
                   name, least, bytes.size());
  if (is_png(bytes)) check_png(bytes, name);
  const int wanted = channels <= 2 ? 1 : 3;
  const std::unique_ptr<uint8_t, StbFree> pixels(
      stbi_load_from_memory(bytes.data(), length, &width, &height, &channels, wanted));
  require<IoError>(pixels != nullptr, "{}: broken picture: {}", name, stbi_failure_reason());
  image.reshape(height, width, wanted);
  std::memcpy(image.pixels.data(), pixels.get(), image.pixels.size());
}

}  // namespace

Part decode_image_part(std::span<const uint8_t> bytes, const std::string& name, const ChoosePart& choose,
                       Image& image) {
  require<IoError>(bytes.size() >= 4, "{}: expected a picture, found {} bytes", name, bytes.size());
  if (bytes[0] == 0xFF && bytes[1] == 0xD8) return decode_jpeg(bytes, name, choose, image);
  if (bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6')) {
    decode_pnm(bytes, name, image);
  } else {
    decode_with_stb(bytes, name, image);
  }
  choose(image.height, image.width);
  return whole_picture(image.height, image.width);
}

void decode_image(std::span<const uint8_t> bytes, const std::string& name, Image& image) {
  decode_image_part(bytes, name, whole_picture, image);
}

std::span<const uint8_t> read_picture_bytes(const std::filesystem::path& file, std::vector<uint8_t>& buffer) {
  const std::unique_ptr<std::FILE, FileClose> in(std::fopen(file.c_str(), "rb"));
  require<IoError>(in != nullptr, "{}: cannot open: {}", file.string(), std::strerror(errno));
  size_t used = 0;
  for (;;) {
    buffer.resize(std::max(buffer.capacity(), used + (size_t{1} << 16)));
    const size_t got = std::fread(buffer.data() + used, 1, buffer.size() - used, in.get());
    if (got == 0) break;
    used += got;
  }
  require<IoError>(std::ferror(in.get()) == 0, "{}: cannot read: {}", file.string(), std::strerror(errno));
  return {buffer.data(), used};
}

void read_image(const std::filesystem::path& file, Image& image) {
  // One buffer a thread: whoever reads a picture reads many.
  thread_local std::vector<uint8_t> buffer;
  decode_image(read_picture_bytes(file, buffer), file.string(), image);
}

Image read_image(const std::filesystem::path& file) {
  Image image;
  read_image(file, image);
  return image;
}

}  // namespace striate
