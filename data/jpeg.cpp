#include "data/jpeg.h"

#include <csetjmp>
#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "kernels/error.h"

namespace striate {
namespace {

struct Failure {
  jpeg_error_mgr manager;  // first: libjpeg hands back a pointer to it
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  info->err->format_message(info, failure->message);
  std::longjmp(failure->back, 1);
}

/// libjpeg only warns when the data ends early, and fills the rest with grey; to a training set that is a broken image.
/// Its other warnings (odd metadata, stray bytes) leave whole pictures, as they do in every viewer.
void warn(j_common_ptr info, int level) {
  if (level == -1 && info->err->msg_code == JWRN_JPEG_EOF) fail(info);
}

/// Runs libjpeg's calls between setjmp and their possible longjmp: only trivially destructible locals live in them.
template <typename Calls>
bool run(Failure& failure, const Calls& calls) {
  if (setjmp(failure.back) != 0) return false;
  calls();
  return true;
}

void read_header(jpeg_decompress_struct& info) {
  jpeg_read_header(&info, TRUE);
  switch (info.jpeg_color_space) {
    case JCS_GRAYSCALE:
      info.out_color_space = JCS_GRAYSCALE;
      break;
    case JCS_CMYK:
    case JCS_YCCK:
      info.out_color_space = JCS_CMYK;
      break;
    default:
      info.out_color_space = JCS_RGB;
  }
  jpeg_calc_output_dimensions(&info);
}

/// Smooth upsampling treats the first and last column that it computes as the picture's edge: they are not kept.
constexpr int kEdge = 2;

/// Begins to decode columns that hold those of `window`, whole blocks at the left. Returns which they are.
Window start_columns(jpeg_decompress_struct& info, const Window& window) {
  jpeg_start_decompress(&info);
  const int left = std::max(window.left - kEdge, 0);
  const int right = std::min(window.right() + kEdge, static_cast<int>(info.output_width));
  if (left == 0 && right == static_cast<int>(info.output_width)) return {window.top, 0, window.height, right};
  auto first = static_cast<JDIMENSION>(left), width = static_cast<JDIMENSION>(right - left);
  jpeg_crop_scanline(&info, &first, &width);
  return {window.top, static_cast<int>(first), window.height, static_cast<int>(width)};
}

void read_rows(jpeg_decompress_struct& info, const Window& window, uint8_t* pixels) {
  const size_t stride = static_cast<size_t>(info.output_width) * info.output_components;
  const auto top = static_cast<JDIMENSION>(window.top), bottom = static_cast<JDIMENSION>(window.bottom());
  if (top > 0) jpeg_skip_scanlines(&info, top);
  while (info.output_scanline < bottom) {
    JSAMPROW row = pixels + (info.output_scanline - top) * stride;
    jpeg_read_scanlines(&info, &row, 1);
  }
}

/// Chroma as coarse as 4:1:0's still has to be widened after a reduction. libjpeg-turbo 2.1 then takes it for narrower
/// than it is in a window and leaves columns uncomputed: such pictures, which are rare, are not reduced.
bool is_reducible(const jpeg_decompress_struct& info) { return info.max_h_samp_factor * info.max_v_samp_factor <= 4; }

/// Whether the end of the data stands where it belongs, so that nothing is missing even if not all of it is read.
bool is_whole(std::span<const uint8_t> bytes) {
  static constexpr uint8_t kEnd[] = {0xFF, JPEG_EOI};
  const auto last = bytes.last(std::min<size_t>(bytes.size(), 64));  // some programs pad a file
  return std::search(last.begin(), last.end(), std::begin(kEnd), std::end(kEnd)) != last.end();
}

struct Decompressor {
  jpeg_decompress_struct info{};
  Failure failure{};

  Decompressor() {
    info.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = fail;
    failure.manager.emit_message = warn;
    jpeg_create_decompress(&info);
  }
  ~Decompressor() { jpeg_destroy_decompress(&info); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
};

/// CMYK to RGB. Adobe's files store the inks inverted, which makes it one multiplication: r = c·k/255. Like Pillow we
/// take every file for one of those, with Adobe's marker or not.
void cmyk_to_rgb(Image& image) {
  Image rgb;
  rgb.reshape(image.height, image.width, 3);
  const size_t count = static_cast<size_t>(image.height) * image.width;
  for (size_t p = 0; p < count; ++p) {
    const uint8_t* ink = image.pixels.data() + 4 * p;
    for (int c = 0; c < 3; ++c) rgb.pixels[3 * p + c] = static_cast<uint8_t>((ink[c] * ink[3] + 127) / 255);
  }
  std::swap(image, rgb);
}

}  // namespace

Part decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, const ChoosePart& choose, Image& image) {
  Decompressor decompressor;
  auto& info = decompressor.info;
  auto& failure = decompressor.failure;
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  require<IoError>(run(failure, [&] { read_header(info); }), "{}: broken JPEG header: {}", name, failure.message);
  const int64_t height = info.output_height, width = info.output_width;
  require<IoError>(height * width <= kMostPixels, "{}: {}×{} pixels is more than the {} that are decoded at most", name,
                   height, width, kMostPixels);
  // A block of 8×8 values takes at least a bit, and no three channels can be sampled so coarsely that a byte stands for
  // more; arithmetic coding alone knows no such bound.
  constexpr int64_t kMostPixelsInAByte = 1024;
  require<IoError>(info.arith_code || height * width <= kMostPixelsInAByte * static_cast<int64_t>(bytes.size()),
                   "{}: broken JPEG: its header claims {}×{} pixels of {} bytes", name, height, width, bytes.size());
  const Window whole{0, 0, static_cast<int>(height), static_cast<int>(width)};
  Part part = choose(whole.height, whole.width);
  const bool ends = is_whole(bytes);
  if (!ends) part = {whole};  // what is missing must show
  const int k = is_reducible(info) ? part.reduction : 1;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(k);
  const auto [top, left] = std::pair{part.window.top / k, part.window.left / k};
  Window window{top, left, (part.window.bottom() + k - 1) / k - top, (part.window.right() + k - 1) / k - left};
  bool is_good = run(failure, [&] { window = start_columns(info, window); });
  if (is_good) {
    image.reshape(window.height, window.width, info.out_color_components);
    is_good = run(failure, [&] {
      read_rows(info, window, image.pixels.data());
      // Looks behind the last row, which it must not do for some parts of a picture and not for others.
      if (!ends) jpeg_finish_decompress(&info);
    });
  }
  require<IoError>(is_good, "{}: broken JPEG: {}", name, failure.message);
  if (image.channels == 4) cmyk_to_rgb(image);
  const int bottom = std::min(k * window.bottom(), whole.height), right = std::min(k * window.right(), whole.width);
  return {{k * window.top, k * window.left, bottom - k * window.top, right - k * window.left}, k};
}

}  // namespace striate
