#include "tests/data/dataset_files.h"

#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb_image_write.h>
#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace striate::test {
namespace {

void append_big_endian(Bytes& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
}

}  // namespace

void write_bytes(const std::filesystem::path& file, const Bytes& bytes) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + file.string());
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  write_bytes(file, Bytes(text.begin(), text.end()));
}

Bytes gzipped(const Bytes& bytes) {
  z_stream stream{};
  // 15 window bits, plus 16 for gzip's wrapper instead of zlib's.
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  Bytes out(deflateBound(&stream, bytes.size()) + 32);
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (status != Z_STREAM_END) throw std::runtime_error("deflate");
  return out;
}

Bytes jpeg(const Image& image, int quality, const JpegForm& form) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = image.channels;
  info.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : image.channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  if (image.channels == 3) {
    info.comp_info[0].h_samp_factor = form.luma_columns;
    info.comp_info[0].v_samp_factor = form.luma_rows;
  }
  if (form.progressive) jpeg_simple_progression(&info);
  info.restart_in_rows = form.restart_rows;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(info.next_scanline)));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  Bytes bytes(memory, memory + size);
  std::free(memory);
  jpeg_destroy_compress(&info);
  return bytes;
}

Bytes png(const Image& image) {
  Bytes bytes;
  stbi_write_png_to_func(
      [](void* context, void* data, int size) {
        const auto* from = static_cast<const uint8_t*>(data);
        static_cast<Bytes*>(context)->insert(static_cast<Bytes*>(context)->end(), from, from + size);
      },
      &bytes, image.width, image.height, image.channels, image.pixels.data(), static_cast<int>(image.row_bytes()));
  return bytes;
}

Bytes idx_images(int count, int height, int width) {
  Bytes bytes;
  for (const int value : {0x803, count, height, width}) append_big_endian(bytes, static_cast<uint32_t>(value));
  for (int i = 0; i < count * height * width; ++i) bytes.push_back(static_cast<uint8_t>(7 * i + 3));
  return bytes;
}

Bytes idx_labels(int count, int classes) {
  Bytes bytes;
  for (const int value : {0x801, count}) append_big_endian(bytes, static_cast<uint32_t>(value));
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(i % classes));
  return bytes;
}

void write_mnist(const std::filesystem::path& folder, int train, int test) {
  write_bytes(folder / "train-images-idx3-ubyte", idx_images(train, 28, 28));
  write_bytes(folder / "train-labels-idx1-ubyte", idx_labels(train));
  write_bytes(folder / "t10k-images-idx3-ubyte", idx_images(test, 28, 28));
  write_bytes(folder / "t10k-labels-idx1-ubyte", idx_labels(test));
}

Bytes cifar_records(int count, int label_bytes, int classes) {
  Bytes bytes;
  for (int r = 0; r < count; ++r) {
    for (int b = 0; b + 1 < label_bytes; ++b) bytes.push_back(0);
    bytes.push_back(static_cast<uint8_t>(r % classes));
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < 1024; ++i) bytes.push_back(static_cast<uint8_t>(r + 50 * c + i));
    }
  }
  return bytes;
}

}  // namespace striate::test
