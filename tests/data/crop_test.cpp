#include "data/transforms/crop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "kernels/error.h"
#include "tests/data/picture_formula.h"

namespace striate {
namespace {

using Pixels = std::vector<uint8_t>;
using test::formula_picture;

Random any_stream(uint64_t index = 0) { return Random(1, RandomPurpose::augmentation, index); }

TEST(Crop, WindowReachesIntoBlack) {
  Image to;
  const Image from = formula_picture(2, 2, 1);
  crop(from, -1, -1, 4, 4, to);
  EXPECT_EQ(to.pixels, (Pixels{0, 0, 0, 0, 0, from.pixels[0], from.pixels[1], 0, 0, from.pixels[2], from.pixels[3], 0,
                               0, 0, 0, 0}));
  crop(from, 5, 7, 2, 2, to);
  EXPECT_EQ(to.pixels, Pixels(4, 0));
}

TEST(Crop, CentreRoundsHalfToEven) {
  TransformScratch scratch;
  Random random = any_stream();
  for (const auto& [size, crop_to, offset] :
       {std::array{5, 2, 2}, std::array{7, 2, 2}, std::array{3, 2, 0}, std::array{8, 4, 2}}) {
    Image image = formula_picture(size, size, 1);
    CenterCrop(crop_to, crop_to).apply(image, random, scratch);
    EXPECT_EQ(image.pixels[0], formula_picture(size, size, 1).row(offset)[offset]) << size << " to " << crop_to;
  }
}

TEST(Crop, RandomReachesEveryPlaceAndNoOther) {
  TransformScratch scratch;
  std::vector<int> seen(25, 0);
  for (uint64_t i = 0; i < 1000; ++i) {
    Image image;
    image.reshape(4, 4, 1);
    std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{0});
    image.row(1)[1] = 200;
    Random random = any_stream(i);
    RandomCrop(4, 4, 2).apply(image, random, scratch);
    ASSERT_EQ(image.height, 4);
    ASSERT_EQ(image.width, 4);
    const auto at = std::find(image.pixels.begin(), image.pixels.end(), 200) - image.pixels.begin();
    ++seen[at == 16 ? 24 : at];
  }
  // Offsets −2 … 2 move the bright pixel from (1, 1) to rows and columns −1 … 3: 16 places of 25 inside.
  for (int place = 0; place < 16; ++place) EXPECT_NEAR(seen[place], 40, 30) << "place " << place;
  EXPECT_NEAR(seen[24], 360, 70);
}

TEST(Crop, TenAreCornersAndCentreAndTheirMirrorImages) {
  const Image whole = formula_picture(7, 9, 3);
  Image image = whole;
  TransformScratch scratch;
  Random random = any_stream();
  TenCrop(4, 5).apply(image, random, scratch);
  ASSERT_EQ(image.height, 40);
  ASSERT_EQ(image.width, 5);
  // (7 − 4)/2 = 1.5 rounds to even.
  const std::vector<std::pair<int, int>> places = {{0, 0}, {0, 4}, {3, 0}, {3, 4}, {2, 2}};
  for (size_t k = 0; k < 10; ++k) {
    const auto [top, left] = places[k % 5];
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 5; ++x) {
        const int from = k < 5 ? left + x : left + 4 - x;
        for (int c = 0; c < 3; ++c) {
          ASSERT_EQ(image.row(static_cast<int>(4 * k) + y)[3 * x + c], whole.row(top + y)[3 * from + c])
              << "crop " << k << " at " << y << "," << x;
        }
      }
    }
  }
  Image small = formula_picture(3, 9, 3);
  EXPECT_THROW(TenCrop(4, 5).apply(small, random, scratch), ShapeError);
}

TEST(Crop, TooSmallAPictureIsNamedWithItsSize) {
  TransformScratch scratch;
  Random random = any_stream();
  Image image = formula_picture(20, 30, 1);
  try {
    RandomCrop(32, 32, 2).apply(image, random, scratch);
    FAIL() << "no error";
  } catch (const ShapeError& error) {
    EXPECT_NE(std::string(error.what()).find("20×30"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("32×32"), std::string::npos) << error.what();
  }
  EXPECT_THROW(CenterCrop(32, 16).apply(image, random, scratch), ShapeError);
}

TEST(Crop, RandomResizedHasTheAskedSizeAndShowsParts) {
  TransformScratch scratch;
  std::vector<Pixels> seen;
  for (uint64_t i = 0; i < 20; ++i) {
    Image image = formula_picture(40, 60, 3);
    Random random = any_stream(i);
    RandomResizedCrop({.height = 16, .width = 24}).apply(image, random, scratch);
    ASSERT_EQ(image.height, 16);
    ASSERT_EQ(image.width, 24);
    if (std::find(seen.begin(), seen.end(), image.pixels) == seen.end()) seen.push_back(image.pixels);
  }
  EXPECT_EQ(seen.size(), 20u);
}

TEST(Crop, RandomResizedFallsBackToTheLargestCentralWindow) {
  TransformScratch scratch;
  // A line of pixels has no window with a ratio near 1 of its whole area: 100×4 gives int(4·4/3 + ½) = 5 columns.
  Image image = formula_picture(4, 100, 1);
  Random random = any_stream();
  RandomResizedCrop({.height = 4, .width = 5, .scale_min = 1.0}).apply(image, random, scratch);
  Image expected;
  crop(formula_picture(4, 100, 1), 0, 47, 4, 5, expected);
  EXPECT_EQ(image.pixels, expected.pixels);
}

}  // namespace
}  // namespace striate
