#include "data/least_bytes.h"

#include <gtest/gtest.h>

#include "data/image_file.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"

// Headers that promise more than the file can hold: each once made a decoder take memory for the promise.
namespace striate {
namespace {

using test::Bytes;
using test::throws_with;

testing::AssertionResult refused(const Bytes& bytes, std::initializer_list<std::string> parts) {
  Image image;
  return throws_with<IoError>([&] { decode_image(bytes, "liar", image); }, parts);
}

void put_big_endian(Bytes& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

/// A BMP of 24 bits a pixel without palette; `rows` below zero: the first row is the top one.
Bytes bmp(int32_t rows, int32_t columns, uint8_t bits, const Bytes& pixels) {
  Bytes bytes = {'B', 'M', 0, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0};
  for (const int32_t side : {columns, rows}) {
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<uint8_t>(side >> shift));
  }
  for (const int byte : {1, 0, int{bits}, 0}) bytes.push_back(static_cast<uint8_t>(byte));
  bytes.resize(54);
  bytes.insert(bytes.end(), pixels.begin(), pixels.end());
  return bytes;
}

TEST(LeastBytes, WholePicturesHaveThem) {
  for (const int channels : {1, 3}) {
    const Bytes picture = test::png(test::formula_picture(40, 30, channels));
    EXPECT_LE(least_bytes(picture, 40, 30), picture.size());
  }
  // A flat picture is deflated nearly as far as that goes.
  Image flat;
  flat.reshape(2000, 2000, 1);
  Image decoded;
  decode_image(test::png(flat), "flat", decoded);
  EXPECT_EQ(decoded.pixels, flat.pixels);
}

TEST(LeastBytes, PngWhoseChunkIsLongerThanTheFile) {
  Bytes bytes = test::png(test::formula_picture(9, 6, 3));
  put_big_endian(bytes, 33, 0x35353335);  // the length of IDAT
  EXPECT_TRUE(refused(bytes, {"liar", "chunk at byte 33", "cut short"}));
}

TEST(LeastBytes, PngWithMorePixelsThanItsBytesCanBe) {
  Bytes bytes = test::png(test::formula_picture(9, 6, 3));
  for (const size_t at : {16u, 20u}) put_big_endian(bytes, at, 11000);
  EXPECT_TRUE(refused(bytes, {"liar", "expected 351754", "cut short"}));
}

TEST(LeastBytes, BmpWithMorePixelsThanBytes) {
  const Bytes pixels(16, 7);
  EXPECT_TRUE(refused(bmp(11000, 11000, 24, pixels), {"liar", "expected 363000000", "found 70"}));
  // Columns of less than a byte: every row still takes four.
  EXPECT_TRUE(refused(bmp(16384511, 4, 1, pixels), {"liar", "expected 65538041", "found 70"}));
  EXPECT_TRUE(refused(bmp(11000, 11000, 0, pixels), {"liar", "expected 15135999", "found 70"}));
}

TEST(LeastBytes, BmpFromTheTop) {
  const Bytes pixels = {1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0};
  Image up, down;
  decode_image(bmp(2, 2, 24, pixels), "up", up);
  decode_image(bmp(-2, 2, 24, pixels), "down", down);
  EXPECT_EQ(up.pixels, (Bytes{9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(down.pixels, (Bytes{3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10}));
}

TEST(LeastBytes, JpegWithMorePixelsThanItsBytesCanBe) {
  Bytes bytes = test::jpeg(test::formula_picture(8, 8, 3));
  for (size_t i = 0; i + 9 < bytes.size(); ++i) {
    if (bytes[i] != 0xFF || bytes[i + 1] != 0xC0) continue;
    for (const size_t high : {i + 5, i + 7}) bytes[high] = 0x2a;  // 10752 and some
    break;
  }
  EXPECT_TRUE(refused(bytes, {"liar", "10760×10760 pixels"}));
}

TEST(LeastBytes, NothingIsReadBehindAShortHeader) {
  for (const char* begin : {"BM", "\x89PNG", "P6 1 "}) {
    for (size_t length = 4; length < 40; ++length) {
      Bytes bytes(begin, begin + std::char_traits<char>::length(begin));
      bytes.resize(length);
      Image image;
      EXPECT_THROW(decode_image(bytes, "short", image), IoError);
    }
  }
}

}  // namespace
}  // namespace striate
