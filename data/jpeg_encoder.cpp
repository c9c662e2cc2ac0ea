#include "data/jpeg_encoder.h"

#include <csetjmp>
#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

#include <cstdlib>
#include <memory>

#include "kernels/error.h"

namespace striate {
namespace {

struct ErrorManager {
  jpeg_error_mgr manager;  // first: libjpeg hands back a pointer to it
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->back, 1);
}

/// Runs libjpeg's calls between setjmp and their possible longjmp: only trivially destructible locals live here.
bool encode(const Image& image, int quality, jpeg_compress_struct& info, ErrorManager& errors, unsigned char** bytes,
            unsigned long* size) {
  if (setjmp(errors.back) != 0) return false;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, bytes, size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = image.channels;
  info.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  for (int c = 0; c < info.num_components; ++c) {
    info.comp_info[c].h_samp_factor = info.comp_info[c].v_samp_factor = 1;
  }
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(info.next_scanline)));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

struct Free {
  void operator()(unsigned char* bytes) const { std::free(bytes); }
};

}  // namespace

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  require<ShapeError>(
      image.width > 0 && image.height > 0 && (image.channels == 1 || image.channels == 3),
      "jpeg: a picture of {}×{} pixels with {} channels cannot be encoded; 1 or 3 channels are expected", image.height,
      image.width, image.channels);
  ErrorManager errors{};
  jpeg_compress_struct info{};
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = fail;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const bool done = encode(image, quality, info, errors, &bytes, &size);
  const std::unique_ptr<unsigned char, Free> owner(bytes);
  jpeg_destroy_compress(&info);
  require<Error>(done, "jpeg: the picture could not be encoded: {}", errors.message);
  return {bytes, bytes + size};
}

}  // namespace striate
