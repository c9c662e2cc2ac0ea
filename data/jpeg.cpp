#include "data/jpeg.h"

#include <csetjmp>
#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>

#include "data/image_file.h"
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

enum class Step { header, pixels };

/// Runs libjpeg's calls between setjmp and their possible longjmp: only trivially destructible locals live here.
bool run_step(Step step, jpeg_decompress_struct& info, Failure& failure, uint8_t* pixels) {
  if (setjmp(failure.back) != 0) return false;
  if (step == Step::header) {
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
  } else {
    jpeg_start_decompress(&info);
    const size_t stride = static_cast<size_t>(info.output_width) * info.output_components;
    while (info.output_scanline < info.output_height) {
      JSAMPROW row = pixels + info.output_scanline * stride;
      jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
  }
  return true;
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

/// CMYK to RGB. Adobe's files store the inks inverted, which makes it one multiplication: r = c·k/255.
void cmyk_to_rgb(Image& image, bool inverted) {
  Image rgb;
  rgb.reshape(image.height, image.width, 3);
  const size_t count = static_cast<size_t>(image.height) * image.width;
  for (size_t p = 0; p < count; ++p) {
    const uint8_t* ink = image.pixels.data() + 4 * p;
    for (int c = 0; c < 3; ++c) {
      const int light = inverted ? ink[c] : 255 - ink[c];
      const int key = inverted ? ink[3] : 255 - ink[3];
      rgb.pixels[3 * p + c] = static_cast<uint8_t>((light * key + 127) / 255);
    }
  }
  std::swap(image, rgb);
}

}  // namespace

void decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, Image& image) {
  Decompressor decompressor;
  auto& info = decompressor.info;
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  require<IoError>(run_step(Step::header, info, decompressor.failure, nullptr), "{}: broken JPEG header: {}", name,
                   decompressor.failure.message);
  const int64_t height = info.output_height, width = info.output_width;
  require<IoError>(height * width <= kMostPixels, "{}: {}×{} pixels is more than the {} that are decoded at most", name,
                   height, width, kMostPixels);
  image.reshape(static_cast<int>(height), static_cast<int>(width), info.out_color_components);
  require<IoError>(run_step(Step::pixels, info, decompressor.failure, image.pixels.data()), "{}: broken JPEG: {}", name,
                   decompressor.failure.message);
  if (image.channels == 4) cmyk_to_rgb(image, info.saw_Adobe_marker != 0);
}

}  // namespace striate
