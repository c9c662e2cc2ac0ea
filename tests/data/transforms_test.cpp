#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "data/transforms/channels.h"
#include "data/transforms/color.h"
#include "data/transforms/crop.h"
#include "data/transforms/geometry.h"
#include "data/transforms/resize.h"
#include "kernels/error.h"
#include "tests/data/picture_formula.h"

// Literal pixels come from Pillow 13.0.0: Image.resize(BILINEAR), Image.rotate, ImageEnhance, and torchvision's
// adjust_hue in terms of Image.convert("HSV").
namespace striate {
namespace {

using Pixels = std::vector<uint8_t>;
using test::formula_picture;

Image resized(const Image& from, int height, int width) {
  Image to;
  TransformScratch scratch;
  resize_bilinear(from, height, width, to, scratch);
  return to;
}

Random any_stream(uint64_t index = 0) { return Random(1, RandomPurpose::augmentation, index); }

/// No pixel may be off by more than a level, and few by one.
void expect_near_pillow(const Pixels& found, const Pixels& expected, int most_off_by_one) {
  ASSERT_EQ(found.size(), expected.size());
  int off_by_one = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const int difference = std::abs(found[i] - expected[i]);
    EXPECT_LE(difference, 1) << "at " << i << ": " << int{found[i]} << " instead of " << int{expected[i]};
    off_by_one += difference;
  }
  EXPECT_LE(off_by_one, most_off_by_one);
}

/// 32-bit FNV-1a, to compare pictures too large to write down.
uint32_t fingerprint(const Pixels& pixels) {
  uint32_t hash = 2166136261u;
  for (const uint8_t pixel : pixels) hash = (hash ^ pixel) * 16777619u;
  return hash;
}

TEST(Resize, SmallPicturesEqualPillow) {
  EXPECT_EQ(resized(formula_picture(5, 7, 1), 3, 4).pixels,
            (Pixels{53, 134, 132, 115, 142, 90, 124, 130, 175, 131, 128, 86}));
  EXPECT_EQ(resized(formula_picture(4, 4, 1), 6, 5).pixels,
            (Pixels{0,   34,  83,  117, 113, 30,  66,  118, 155, 153, 69,  109, 143, 162, 164,
                    108, 150, 104, 41,  46,  148, 193, 129, 49,  57,  177, 225, 164, 86,  97}));
  EXPECT_EQ(resized(formula_picture(7, 9, 1), 3, 9).pixels,
            (Pixels{51,  105, 126, 127, 137, 91,  152, 95, 109, 162, 171, 96,  97, 157,
                    111, 96,  125, 94,  102, 131, 146, 67, 162, 146, 146, 155, 144}));
}

TEST(Resize, PassesInTheOtherOrderDifferByALevelAtMost) {
  // The height shrinks more than the width: Pillow 13 takes the columns first.
  expect_near_pillow(
      resized(formula_picture(6, 5, 3), 2, 7).pixels,
      Pixels{74,  125, 144, 107, 121, 122, 126, 113, 109, 113, 100, 119, 116, 103, 99,  129, 116, 116, 144, 131, 150,
             157, 80,  131, 145, 105, 137, 136, 132, 142, 136, 155, 142, 105, 101, 111, 112, 113, 118, 137, 156, 143},
      4);
}

TEST(Resize, LargerPicturesEqualPillow) {
  EXPECT_EQ(fingerprint(resized(formula_picture(28, 28, 1), 32, 32).pixels), 0x1bbecfa1u);
  EXPECT_EQ(fingerprint(resized(formula_picture(37, 50, 3), 16, 16).pixels), 0x98099143u);
  EXPECT_EQ(fingerprint(resized(formula_picture(9, 6, 3), 9, 4).pixels), 0xbc8138f6u);
}

TEST(Resize, ScratchIsReusedAcrossSizes) {
  TransformScratch scratch;
  Image to;
  for (const int side : {3, 9, 3}) {
    resize_bilinear(formula_picture(7, 5, 3), side, side + 1, to, scratch);
    EXPECT_EQ(to.pixels, resized(formula_picture(7, 5, 3), side, side + 1).pixels);
  }
}

TEST(Resize, ShorterSideRoundsTheLongerDown) {
  TransformScratch scratch;
  Random random = any_stream();
  Image image = formula_picture(37, 50, 1);
  Resize(16).apply(image, random, scratch);
  EXPECT_EQ(image.height, 16);
  EXPECT_EQ(image.width, 21);  // int(16·50/37) = int(21.6)
  image = formula_picture(50, 37, 3);
  Resize(256).apply(image, random, scratch);
  EXPECT_EQ(image.height, 345);
  EXPECT_EQ(image.width, 256);
}

TEST(Rotation, EqualsPillow) {
  Image to;
  const Image from = formula_picture(6, 8, 1);
  rotate(from, 30, false, to);
  EXPECT_EQ(to.pixels, (Pixels{0,   0,   113, 227, 104, 75,  17,  0,   0,  118, 113, 58,  104, 176, 176, 125,
                               48,  191, 191, 17,  145, 36,  21,  233, 59, 180, 8,   97,  232, 130, 130, 223,
                               118, 246, 246, 154, 177, 150, 224, 0,   0,  177, 56,  154, 1,   150, 0,   0}));
  rotate(from, -5, false, to);
  EXPECT_EQ(to.pixels, (Pixels{0,   48,  118, 113, 227, 10,  230, 57,  59,  114, 191, 193, 58,  104, 75,  165,
                               118, 180, 8,   17,  145, 198, 176, 17,  177, 246, 81,  97,  232, 36,  21,  125,
                               236, 56,  154, 177, 63,  130, 122, 233, 39,  122, 227, 1,   150, 224, 223, 85}));
  rotate(from, 30, true, to);
  expect_near_pillow(to.pixels, Pixels{0,   0,   164, 150, 78,  86,  83,  0,   0,  117, 149, 88,  130, 181, 89,  119,
                                       54,  146, 134, 74,  167, 64,  54,  189, 82, 151, 29,  69,  172, 107, 144, 174,
                                       120, 188, 168, 127, 149, 114, 217, 0,   0,  198, 79,  165, 80,  82,  0,   0},
                     0);
}

TEST(Rotation, StaysWithinItsDegrees) {
  TransformScratch scratch;
  // The picture's middle column is bright; 5° over 10 rows of distance move it by less than a pixel.
  for (uint64_t i = 0; i < 50; ++i) {
    Image image;
    image.reshape(21, 21, 1);
    std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{0});
    for (int y = 0; y < 21; ++y) image.row(y)[10] = 255;
    Random random = any_stream(i);
    Rotation(5.0, false).apply(image, random, scratch);
    for (int y = 0; y < 21; ++y) {
      EXPECT_EQ(1, std::count(image.row(y) + 9, image.row(y) + 12, uint8_t{255})) << "row " << y;
    }
  }
}

TEST(Color, BrightnessEqualsPillow) {
  Image image = formula_picture(3, 4, 3);
  adjust_brightness(image, 0.6f);
  EXPECT_EQ(image.pixels, (Pixels{0,   49, 99, 28,  78, 128, 70, 120, 16, 67,  117, 13, 35, 85, 135, 68, 118, 14,
                                  114, 10, 60, 115, 12, 61,  70, 120, 16, 108, 4,   54, 4,  54, 104, 10, 60,  109}));
  image = formula_picture(3, 4, 3);
  adjust_brightness(image, 1.5f);
  EXPECT_EQ(image.pixels,
            (Pixels{0,   124, 249, 72,  196, 255, 177, 255, 42, 169, 255, 34,  88, 213, 255, 171, 255, 36,
                    255, 27,  151, 255, 30,  154, 177, 255, 42, 255, 10,  135, 12, 136, 255, 25,  150, 255}));
}

TEST(Color, ContrastEqualsPillow) {
  Image image = formula_picture(3, 4, 3);
  adjust_contrast(image, 0.6f);
  EXPECT_EQ(image.pixels,
            (Pixels{44,  93, 143, 72,  122, 172, 114, 164, 60, 111, 161, 57, 79, 129, 179, 112, 162, 58,
                    158, 54, 104, 159, 55,  105, 114, 164, 60, 152, 48,  98, 48, 98,  148, 54,  104, 153}));
  image = formula_picture(3, 4, 3);
  adjust_contrast(image, 1.5f);
  EXPECT_EQ(image.pixels, (Pixels{0, 69, 194, 17, 141, 255, 122, 246, 0,   114, 239, 0, 33, 158, 255, 116, 240, 0, 231,
                                  0, 96, 234, 0,  99,  122, 246, 0,   215, 0,   80,  0, 81, 206, 0,   95,  219}));
  image = formula_picture(3, 4, 1);
  adjust_contrast(image, 1.5f);
  EXPECT_EQ(image.pixels, (Pixels{0, 23, 128, 121, 40, 122, 238, 241, 128, 221, 0, 0}));
}

TEST(Color, SaturationEqualsPillow) {
  Image image = formula_picture(3, 4, 3);
  adjust_saturation(image, 0.3f);
  EXPECT_EQ(image.pixels,
            (Pixels{47,  72, 97, 95,  120, 145, 144, 169, 117, 139, 164, 112, 106, 131, 156, 140, 165, 113,
                    112, 60, 85, 114, 62,  87,  144, 169, 117, 101, 49,  74,  55,  80,  105, 64,  89,  114}));
  image = formula_picture(3, 4, 3);
  adjust_saturation(image, 1.8f);
  EXPECT_EQ(image.pixels, (Pixels{0,   95, 244, 0,   143, 255, 87, 237, 0, 82,  232, 0,   4, 154, 255, 83, 233, 0,
                                  255, 0,  118, 255, 0,   120, 87, 237, 0, 255, 0,   107, 0, 103, 252, 0,  112, 255}));
}

TEST(Color, HueEqualsPillow) {
  Image image = formula_picture(3, 4, 3);
  adjust_hue(image, 0.1f);
  EXPECT_EQ(image.pixels, (Pixels{12,  0,  166, 60,  49, 214, 28, 201, 36, 23,  196, 31, 71, 59, 225, 25, 197, 33,
                                  191, 31, 19,  193, 33, 20,  28, 201, 36, 180, 19,  7,  20, 8,  174, 29, 17,  183}));
  image = formula_picture(3, 4, 3);
  adjust_hue(image, -0.35f);
  EXPECT_EQ(image.pixels,
            (Pixels{102, 166, 0,   150, 214, 49,  201, 28, 134, 196, 23,  129, 161, 225, 59, 197, 25,  130,
                    19,  120, 191, 20,  122, 193, 201, 28, 134, 7,   109, 180, 110, 174, 8,  119, 183, 17}));
}

TEST(Channels, LuminanceEqualsPillow) {
  Image grey;
  convert_channels(formula_picture(3, 4, 3), 1, grey);
  EXPECT_EQ(grey.pixels, (Pixels{68, 116, 156, 151, 127, 152, 79, 81, 156, 68, 76, 85}));
}

TEST(Channels, GreyIsReplicatedAndComesBack) {
  const Image grey = formula_picture(3, 4, 1);
  Image rgb, back;
  convert_channels(grey, 3, rgb);
  ASSERT_EQ(rgb.pixels.size(), 36u);
  for (int p = 0; p < 12; ++p) {
    for (int c = 0; c < 3; ++c) EXPECT_EQ(rgb.pixels[3 * p + c], grey.pixels[p]);
  }
  convert_channels(rgb, 1, back);
  EXPECT_EQ(back.pixels, grey.pixels);
}

TEST(Color, JitterOfNothingChangesNothing) {
  TransformScratch scratch;
  Image image = formula_picture(6, 6, 3);
  Random random = any_stream();
  ColorJitter({}).apply(image, random, scratch);
  EXPECT_EQ(image.pixels, formula_picture(6, 6, 3).pixels);
}

TEST(Color, JitterStaysWithinItsStrength) {
  TransformScratch scratch;
  float lowest = 9, highest = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    Image image;
    image.reshape(1, 1, 1);
    image.pixels[0] = 100;
    Random random = any_stream(i);
    ColorJitter({.brightness = 0.4f}).apply(image, random, scratch);
    lowest = std::min(lowest, image.pixels[0] / 100.0f);
    highest = std::max(highest, image.pixels[0] / 100.0f);
  }
  EXPECT_GE(lowest, 0.59f);
  EXPECT_LE(lowest, 0.63f);
  EXPECT_LE(highest, 1.4f);
  EXPECT_GE(highest, 1.36f);
}

TEST(Color, PcaShiftsAllPixelsOfAPictureAlike) {
  TransformScratch scratch;
  double sum = 0, squares = 0;
  constexpr int kPictures = 2000;
  for (int i = 0; i < kPictures; ++i) {
    Image image;
    image.reshape(2, 2, 3);
    std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{128});
    Random random = any_stream(i);
    PcaColor({.std = 1.0f, .eigenvalues = {0.1f, 0.0f, 0.0f}, .eigenvectors = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}})
        .apply(image, random, scratch);
    for (int p = 1; p < 4; ++p) EXPECT_EQ(image.pixels[3 * p], image.pixels[0]);
    EXPECT_EQ(image.pixels[1], 128);
    EXPECT_EQ(image.pixels[2], 128);
    const double shift = image.pixels[0] - 128.0;
    sum += shift;
    squares += shift * shift;
  }
  // α ~ N(0, 1), λ = 0.1: a standard deviation of 25.5 levels, known to 1.6 % (one σ) from 2000 draws.
  EXPECT_NEAR(sum / kPictures, 0.0, 2.0);
  EXPECT_NEAR(std::sqrt(squares / kPictures), 25.5, 1.6);
}

TEST(Color, PcaRefusesGrey) {
  TransformScratch scratch;
  Image image = formula_picture(2, 2, 1);
  Random random = any_stream();
  EXPECT_THROW(PcaColor({}).apply(image, random, scratch), ShapeError);
}

TEST(Flip, MirrorsRows) {
  for (const int channels : {1, 3}) {
    const Image image = formula_picture(3, 5, channels);
    Image flipped = image;
    flip_horizontally(flipped);
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < 5; ++x) {
        for (int c = 0; c < channels; ++c) {
          EXPECT_EQ(flipped.row(y)[x * channels + c], image.row(y)[(4 - x) * channels + c]);
        }
      }
    }
  }
}

TEST(Flip, HappensHalfTheTime) {
  TransformScratch scratch;
  int flips = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    Image image = formula_picture(1, 2, 1);
    Random random = any_stream(i);
    HorizontalFlip().apply(image, random, scratch);
    flips += image.pixels != formula_picture(1, 2, 1).pixels;
  }
  EXPECT_NEAR(flips, 500, 60);  // four standard deviations
}

TEST(Pipeline, DrawsHangOnSeedEpochSampleAndPosition) {
  Pipeline crops;
  crops.add(std::make_shared<RandomCrop>(16, 16, 0));
  TransformScratch scratch;
  const auto transformed = [&](uint64_t seed, int64_t epoch, int64_t sample) {
    Image image = formula_picture(64, 64, 1);
    crops.apply(image, seed, epoch, sample, scratch);
    return image.pixels;
  };
  EXPECT_EQ(transformed(1, 2, 3), transformed(1, 2, 3));
  EXPECT_NE(transformed(1, 2, 3), transformed(2, 2, 3));
  EXPECT_NE(transformed(1, 2, 3), transformed(1, 3, 3));
  EXPECT_NE(transformed(1, 2, 3), transformed(1, 2, 4));
}

}  // namespace
}  // namespace striate
