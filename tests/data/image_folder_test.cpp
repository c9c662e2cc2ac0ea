#include "data/datasets/image_folder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "data/image_file.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::Bytes;
using test::formula_picture;
using test::jpeg;
using test::png;
using test::TempDir;
using test::write_bytes;
using test::write_text;

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

TEST(ImageFolder, TrainAndVal) {
  TempDir dir;
  write_bytes(dir / "train/cat/b.png", png(formula_picture(4, 4, 3)));
  write_bytes(dir / "train/cat/a.PNG", png(formula_picture(5, 4, 1)));
  write_bytes(dir / "train/ant/deep/x.jpeg", jpeg(formula_picture(6, 4, 3)));
  write_text(dir / "train/ant/notes.txt", "not a picture");
  write_bytes(dir / "val/cat/c.png", png(formula_picture(7, 4, 3)));
  write_bytes(dir / "val/ant/d.png", png(formula_picture(8, 4, 3)));
  const auto parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.train->class_names(), (std::vector<std::string>{"ant", "cat"}));
  ASSERT_EQ(parts.train->size(), 3);
  EXPECT_EQ(parts.train->label(0), 0);
  EXPECT_EQ(parts.train->label(1), 1);
  EXPECT_EQ(parts.train->load(0).height, 6);
  EXPECT_EQ(parts.train->load(1).height, 5);
  EXPECT_EQ(parts.train->load(2).height, 4);
  const Image grey = parts.train->load(1);
  ASSERT_EQ(grey.channels, 3);
  EXPECT_EQ(grey.pixels[3], grey.pixels[4]);
  EXPECT_EQ(grey.pixels[3], formula_picture(5, 4, 1).pixels[1]);
  ASSERT_EQ(parts.test->size(), 2);
  EXPECT_EQ(parts.test->describe(1), (dir / "val/cat/c.png").string());
}

TEST(ImageFolder, ClassFoldersAloneHaveNoTestPart) {
  TempDir dir;
  write_bytes(dir / "b/1.png", png(formula_picture(4, 4, 3)));
  write_bytes(dir / "a/1.png", png(formula_picture(4, 4, 3)));
  const auto parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.train->size(), 2);
  EXPECT_EQ(parts.test, nullptr);
}

TEST(ImageFolder, ATestFolderWithoutClassesIsUnlabelled) {
  TempDir dir;
  for (const char* file : {"train/ant/0.png", "train/bee/0.png", "test/2.png", "test/deep/1.png"}) {
    write_bytes(dir / file, png(formula_picture(4, 4, 3)));
  }
  // With folders in it that are no classes it could be a spelling mistake, unless val/ has been found.
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {"differ", "deep"}));
  for (const char* file : {"val/ant/0.png", "val/bee/0.png"}) write_bytes(dir / file, png(formula_picture(4, 4, 3)));
  auto parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.test->size(), 2);
  ASSERT_NE(parts.unlabelled, nullptr);
  ASSERT_EQ(parts.unlabelled->size(), 2);
  EXPECT_EQ(parts.unlabelled->describe(0), (dir / "test/2.png").string());
  EXPECT_EQ(parts.unlabelled->label(0), kUnlabelled);
  EXPECT_EQ(parts.unlabelled->class_names(), parts.train->class_names());

  std::filesystem::remove_all(dir / "val");
  std::filesystem::remove_all(dir / "test/deep");
  parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.test, nullptr);
  ASSERT_NE(parts.unlabelled, nullptr);
  EXPECT_EQ(parts.unlabelled->size(), 1);

  std::filesystem::remove_all(dir / "test");
  for (const char* part : {"val", "test"}) {
    for (const char* name : {"ant/0.png", "bee/0.png"}) {
      write_bytes(dir / part / name, png(formula_picture(4, 4, 3)));
    }
  }
  EXPECT_EQ(open_image_folder(dir.path()).unlabelled, nullptr) << "class folders have labels";
}

TEST(ImageFolder, BadFoldersAreRefused) {
  TempDir dir;
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_image_folder(""); }, {"data.path"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir / "none"); }, {"none", "no such folder"}));
  EXPECT_TRUE(
      test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {dir.path().string(), "no class folders"}));
  write_text(dir / "train/cat/notes.txt", "not a picture");
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {"train/cat", "without a picture"}));
  write_bytes(dir / "train/cat/a.png", png(formula_picture(4, 4, 3)));
  write_bytes(dir / "val/dog/a.png", png(formula_picture(4, 4, 3)));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {"differ", "cat", "dog"}));
}

}  // namespace
}  // namespace striate
