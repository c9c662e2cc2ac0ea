#include "data/image_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>

#include "data/transforms/channels.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/data/pillow_pictures.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::Bytes;
using test::formula_picture;
using test::jpeg;
using test::PillowPicture;
using test::png;
using test::TempDir;
using test::write_bytes;
using test::write_text;

Image decoded(const Bytes& bytes) {
  Image image;
  decode_image(bytes, "picture", image);
  return image;
}

Image as_rgb(const Image& image) {
  Image rgb = image;
  if (image.channels == 1) convert_channels(image, 3, rgb);
  return rgb;
}

const PillowPicture& pillow_picture(const std::string& name) {
  for (const PillowPicture& picture : test::pillow_pictures()) {
    if (picture.name == name) return picture;
  }
  throw std::runtime_error("no such picture: " + name);
}

class PillowPictures : public testing::TestWithParam<PillowPicture> {};

TEST_P(PillowPictures, GiveItsPixels) {
  const PillowPicture& expected = GetParam();
  const Image image = as_rgb(decoded(expected.file));
  ASSERT_EQ(image.height, expected.height);
  ASSERT_EQ(image.width, expected.width);
  if (expected.name == "grey_png_of_16_bits") {
    // Pillow cuts what is above 255 off instead of scaling, so that nearly all becomes white; here it is the upper
    // byte.
    const Bytes upper = {0, 0, 1, 0x7F, 0x80, 255};
    for (size_t i = 0; i < upper.size(); ++i) EXPECT_EQ(image.pixels[3 * i], upper[i]);
    return;
  }
  if (expected.name == "pgm_of_1000_levels") {  // the same
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(image.pixels[3 * i], (Bytes{0, 128, 255})[i]);
    return;
  }
  EXPECT_EQ(image.pixels, expected.rgb);
}

TEST_P(PillowPictures, CutShortAnywhereAreBroken) {
  const Bytes& whole = GetParam().file;
  Image image;
  // A JPEG's last two bytes and a PNG's last checksum say nothing of the pixels.
  for (size_t length = 0; length + 4 < whole.size(); ++length) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    EXPECT_TRUE(test::throws_with<IoError>([&] { decode_image(cut, "cut", image); }, {"cut: "})) << length;
  }
}

INSTANTIATE_TEST_SUITE_P(Each, PillowPictures, testing::ValuesIn(test::pillow_pictures()),
                         [](const auto& tested) { return tested.param.name; });

/// A smooth picture, which JPEG keeps to within a few levels.
Image smooth_picture(int height, int width, int channels) {
  Image image;
  image.reshape(height, width, channels);
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < width * channels; ++i) {
      image.row(y)[i] = static_cast<uint8_t>(40 + 2 * y + i / channels + 30 * (i % channels));
    }
  }
  return image;
}

void expect_close(const Image& found, const Image& expected, int tolerance) {
  ASSERT_EQ(found.height, expected.height);
  ASSERT_EQ(found.width, expected.width);
  ASSERT_EQ(found.channels, expected.channels);
  for (size_t i = 0; i < found.pixels.size(); ++i)
    ASSERT_NEAR(found.pixels[i], expected.pixels[i], tolerance) << "at " << i;
}

TEST(ImageFile, PngIsExact) {
  TempDir dir;
  for (const int channels : {1, 3}) {
    write_bytes(dir / "a.png", png(formula_picture(7, 9, channels)));
    const Image image = read_image(dir / "a.png");
    EXPECT_EQ(image.channels, channels);
    EXPECT_EQ(image.pixels, formula_picture(7, 9, channels).pixels);
  }
}

TEST(ImageFile, TransparencyIsDropped) {
  TempDir dir;
  Image rgba;
  rgba.reshape(1, 2, 4);
  rgba.pixels = {1, 2, 3, 0, 4, 5, 6, 128};
  write_bytes(dir / "a.png", png(rgba));
  EXPECT_EQ(read_image(dir / "a.png").pixels, (Bytes{1, 2, 3, 4, 5, 6}));
}

TEST(ImageFile, JpegOfEveryColourSpace) {
  TempDir dir;
  for (const int channels : {1, 3}) {
    write_bytes(dir / "a.jpg", jpeg(smooth_picture(17, 23, channels), 98));
    expect_close(read_image(dir / "a.jpg"), smooth_picture(17, 23, channels), 6);
  }
  // libjpeg marks CMYK as Adobe's, whose inks are stored inverted: light·key/255.
  Image inks;
  inks.reshape(8, 8, 4);
  for (int p = 0; p < 64; ++p) {
    const uint8_t ink[4] = {200, 100, 50, 204};
    std::copy_n(ink, 4, inks.pixels.data() + 4 * p);
  }
  write_bytes(dir / "a.jpg", jpeg(inks, 98));
  const Image rgb = read_image(dir / "a.jpg");
  ASSERT_EQ(rgb.channels, 3);
  EXPECT_NEAR(rgb.pixels[0], 160, 3);
  EXPECT_NEAR(rgb.pixels[1], 80, 3);
  EXPECT_NEAR(rgb.pixels[2], 40, 3);
}

TEST(ImageFile, BrokenFilesAreNamed) {
  TempDir dir;
  const auto file = dir / "broken.jpg";
  const auto refused = [&](const Bytes& bytes, std::initializer_list<std::string> parts) {
    write_bytes(file, bytes);
    EXPECT_TRUE(test::throws_with<IoError>([&] { read_image(file); }, {file.string()}));
    EXPECT_TRUE(test::throws_with<IoError>([&] { read_image(file); }, parts));
  };
  const Bytes good = jpeg(formula_picture(64, 64, 3));
  refused({}, {"0 bytes"});
  refused(Bytes(good.begin(), good.begin() + 100), {"broken JPEG"});
  refused(Bytes(good.begin(), good.begin() + good.size() / 2), {"broken JPEG", "Premature end"});
  refused({'h', 'e', 'l', 'l', 'o'}, {"not a picture", "68 65"});
  const Bytes good_png = png(formula_picture(64, 64, 3));
  refused(Bytes(good_png.begin(), good_png.begin() + good_png.size() / 2), {"broken picture"});
  EXPECT_TRUE(test::throws_with<IoError>([&] { read_image(dir / "none.png"); }, {"none.png", "No such file"}));
}

TEST(ImageFile, TruncatedBmpAndPnmAreBroken) {
  // 2×2 pixels: a 54-byte BMP header and two rows padded to 8 bytes; a PPM of 12 bytes.
  std::vector<uint8_t> bmp = {'B', 'M', 70, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0,  40,
                              0,   0,   0,  2, 0, 0, 0, 2, 0, 0, 0,  1, 0, 24, 0};
  bmp.resize(54);
  for (const uint8_t byte : {1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0}) bmp.push_back(byte);
  std::vector<uint8_t> ppm = {'P', '6', '\n', '2', ' ', '2', '\n', '2', '5', '5', '\n'};
  for (uint8_t byte = 1; byte <= 12; ++byte) ppm.push_back(byte);
  Image image;
  decode_image(bmp, "whole.bmp", image);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4}));
  decode_image(ppm, "whole.ppm", image);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  bmp.resize(60);
  ppm.resize(11);
  EXPECT_THROW(decode_image(bmp, "cut.bmp", image), IoError);
  EXPECT_THROW(decode_image(ppm, "cut.ppm", image), IoError);
}

TEST(ImageFile, AHeaderThatPromisesTooManyPixels) {
  Bytes bytes = jpeg(formula_picture(8, 8, 3));
  // The frame header: FF C0, length (2), precision (1), height (2), width (2).
  for (size_t i = 0; i + 9 < bytes.size(); ++i) {
    if (bytes[i] == 0xFF && bytes[i + 1] == 0xC0) {
      for (size_t j = i + 5; j < i + 9; ++j) bytes[j] = 0xFF;
      bytes[i + 5] = bytes[i + 7] = 0xFF;
      bytes[i + 6] = bytes[i + 8] = 0xDC;  // 65500×65500: libjpeg itself refuses more
      break;
    }
  }
  Image image;
  EXPECT_TRUE(test::throws_with<IoError>([&] { decode_image(bytes, "huge.jpg", image); }, {"huge.jpg", "65500×65500"}));
}

/// By how many bytes a child process grows that runs fn(), which must throw an IoError.
int64_t growth_of_refusal(const std::function<void()>& fn) {
  const pid_t child = fork();
  if (child == 0) {
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    int status = 255;
    try {
      fn();
    } catch (const IoError&) {
      getrusage(RUSAGE_SELF, &after);
      status = static_cast<int>(std::min<long>((after.ru_maxrss - before.ru_maxrss) / 1024, 254));
    } catch (...) {
    }
    _exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 255) << "it was not refused";
  return int64_t{WEXITSTATUS(status)} << 20;
}

TEST(ImageFile, HugePromisesTakeNoMemory) {
  const auto refused = [](const Bytes& bytes, std::initializer_list<std::string> parts) {
    Image image;
    EXPECT_TRUE(test::throws_with<IoError>([&] { decode_image(bytes, "huge", image); }, parts));
    EXPECT_LT(growth_of_refusal([&] { decode_image(bytes, "huge", image); }), int64_t{16} << 20);
  };
  const auto with_checksum = [](Bytes bytes) {
    const auto sum = static_cast<uint32_t>(crc32(0, bytes.data() + 12, 17));
    for (int i = 0; i < 4; ++i) bytes[static_cast<size_t>(29 + i)] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    return bytes;
  };
  // A PNG's width and height stand at bytes 16 to 23.
  const Bytes small = png(formula_picture(8, 8, 3));
  Bytes bytes = small;
  for (const size_t at : {size_t{16}, size_t{20}}) {
    const uint8_t side[4] = {0, 0, 255, 255};
    std::copy_n(side, 4, bytes.begin() + static_cast<ptrdiff_t>(at));
  }
  refused(with_checksum(bytes), {"huge: 65535×65535 pixels"});
  bytes[18] = bytes[22] = 40;  // 10495×10495, which could be
  refused(with_checksum(bytes), {"huge: broken picture", "expected 320199 bytes at least", "cut short"});
  std::fill_n(bytes.begin() + 16, 8, uint8_t{255});
  refused(with_checksum(bytes), {"4294967295×4294967295"});
  std::fill_n(bytes.begin() + 16, 8, uint8_t{0});
  refused(with_checksum(bytes), {"0×0"});
  const std::string ppm = "P6 11000 11000 255\nshort";
  refused(Bytes(ppm.begin(), ppm.end()), {"expected 363000000 bytes of pixels, found 5"});
  const std::string absurd = "P5 99999999999999999999 2 255\n";
  refused(Bytes(absurd.begin(), absurd.end()), {"expected a width from 1 to"});
  Bytes bmp = pillow_picture("bmp").file;
  for (const size_t at : {size_t{18}, size_t{22}}) bmp[at + 2] = 1;  // 65539×65538
  refused(bmp, {"65538×65539"});
  bmp = pillow_picture("bmp").file;
  bmp[19] = bmp[23] = 40;
  refused(bmp, {"cut short"});
  // The frame of a JPEG: FF C0, length (2), precision (1), height (2), width (2).
  Bytes jpg = jpeg(formula_picture(8, 8, 3));
  for (size_t i = 0; i + 9 < jpg.size(); ++i) {
    if (jpg[i] != 0xFF || jpg[i + 1] != 0xC0) continue;
    std::fill_n(jpg.begin() + static_cast<ptrdiff_t>(i) + 5, 4, uint8_t{0xFF});
    break;
  }
  refused(jpg, {"huge: broken JPEG header", "65500"});
}

TEST(ImageFile, DamagedPngsFailTheirChecksums) {
  const Bytes whole = png(formula_picture(16, 16, 3));
  Image image;
  int refused = 0;
  for (size_t byte = 8; byte < whole.size(); ++byte) {
    Bytes damaged = whole;
    damaged[byte] ^= 4;
    try {
      decode_image(damaged, "damaged", image);
    } catch (const IoError&) {
      ++refused;
    }
  }
  EXPECT_EQ(refused, static_cast<int>(whole.size()) - 8);
}

TEST(ImageFile, WhatIsNoPictureIsNamed) {
  TempDir dir;
  const auto refused = [&](const std::string& name, std::initializer_list<std::string> parts) {
    EXPECT_TRUE(test::throws_with<IoError>([&] { read_image(dir / name); }, {(dir / name).string()}));
    EXPECT_TRUE(test::throws_with<IoError>([&] { read_image(dir / name); }, parts));
  };
  write_text(dir / "text.jpg", "n01440764 tench\n");
  refused("text.jpg", {"not a picture", "6e 30"});
  write_text(dir / "empty.jpg", "");
  refused("empty.jpg", {"found 0 bytes"});
  std::filesystem::create_directories(dir / "folder.jpg");
  refused("folder.jpg", {"Is a directory"});
  write_text(dir / "picture.gif", "GIF89a and so on");
  refused("picture.gif", {"not a picture in a known format"});
  write_text(dir / "web.JPEG", "RIFFxxxxWEBPVP8 ");
  refused("web.JPEG", {"not a picture in a known format"});
  // The name says nothing: ImageNet has a PNG that is called .JPEG.
  write_bytes(dir / "other.JPEG", png(formula_picture(3, 2, 3)));
  EXPECT_EQ(read_image(dir / "other.JPEG").pixels, formula_picture(3, 2, 3).pixels);
}

}  // namespace
}  // namespace striate
