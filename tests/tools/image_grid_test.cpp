#include "tools/experiments/image_grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tool.h"
#include "tools/experiments/filter_images.h"
#include "tools/experiments/png.h"
#include "tools/experiments/text_width.h"

namespace striate {
namespace {

using test::Picture;
using test::TempDir;

constexpr uint32_t kBlue = 0x0072B2, kOrange = 0xD55E00;

/// No two pixels of a row or column alike.
Image pattern(int height, int width, int channels, int salt = 0) {
  Image image;
  image.reshape(height, width, channels);
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < width * channels; ++i) {
      image.row(y)[i] = static_cast<uint8_t>((17 * y + 29 * (i / channels) + 71 * (i % channels) + salt) % 256);
    }
  }
  return image;
}

uint32_t pixel(const Picture& picture, int x, int y) {
  const uint8_t* rgb =
      &picture.rgb[3 * (static_cast<size_t>(y) * static_cast<size_t>(picture.width) + static_cast<size_t>(x))];
  return uint32_t{rgb[0]} << 16 | uint32_t{rgb[1]} << 8 | rgb[2];
}

uint32_t pixel(const Image& image, int x, int y) {
  const uint8_t* at = image.row(y) + x * image.channels;
  return image.channels == 1 ? at[0] * 0x010101u : uint32_t{at[0]} << 16 | uint32_t{at[1]} << 8 | at[2];
}

TEST(ImageGrid, EveryPixelIsASquareOfItself) {
  TempDir folder;
  std::vector<GridCell> cells;
  cells.push_back({pattern(5, 7, 3), {{"", "five by seven", "", colour::kText}}});
  cells.push_back({pattern(11, 3, 1, 5), {{"", "grey", "", colour::kText}}, Mark::wrong});
  cells.push_back({pattern(1, 1, 3, 99)});
  const GridOptions options{"A title", "and what is below it", 0};
  draw_image_grid(cells, options, folder / "grid.png");
  const GridLayout layout = layout_grid(cells, options);
  const Picture picture = Picture::read(folder / "grid.png");
  ASSERT_EQ(picture.width, layout.width);
  ASSERT_EQ(picture.height, layout.height);
  for (size_t i = 0; i < cells.size(); ++i) {
    const GridLayout::Place& place = layout.cells[i];
    const Image& image = cells[i].image;
    EXPECT_GT(place.enlarged, 10);
    ASSERT_EQ(place.width, image.width * place.enlarged);
    ASSERT_EQ(place.height, image.height * place.enlarged);
    for (int y = 0; y < place.height; ++y) {
      for (int x = 0; x < place.width; ++x) {
        ASSERT_EQ(pixel(picture, place.x + x, place.y + y), pixel(image, x / place.enlarged, y / place.enlarged))
            << i << " at " << x << "," << y;
      }
    }
    EXPECT_EQ(pixel(picture, place.x - 2, place.y + place.height / 2),
              cells[i].mark == Mark::wrong ? kOrange : 0xFFFFFFu);
  }
}

TEST(ImageGrid, ReducesWhatIsTooLargeForAPage) {
  TempDir folder;
  Image image = pattern(10, 1501, 1);
  std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{40});
  draw_image_grid({{image}}, {}, folder / "grid.png");
  const GridLayout layout = layout_grid({{image}}, {});
  EXPECT_EQ(layout.cells[0].reduced, 3);
  EXPECT_EQ(layout.cells[0].width, 501);
  EXPECT_EQ(layout.cells[0].height, 4);
  EXPECT_EQ(pixel(Picture::read(folder / "grid.png"), layout.cells[0].x + 500, layout.cells[0].y + 3), 0x282828u);

  Image ramp;
  ramp.reshape(2, 3, 1);
  ramp.pixels = {0, 10, 100, 20, 31, 201};
  EXPECT_EQ(reduced(ramp, 2).pixels, (std::vector<uint8_t>{15, 151}));  // 61/4 = 15.25; 301/2 = 150.5
}

TEST(ImageGrid, MarksByColourAndBySign) {
  TempDir folder;
  std::vector<GridCell> cells(2, {pattern(8, 8, 1), {}, Mark::right});
  draw_image_grid(cells, {"right"}, folder / "right.png");
  cells[1].mark = Mark::wrong;
  draw_image_grid(cells, {"one wrong"}, folder / "wrong.png");
  draw_image_grid(cells, {"one wrong"}, folder / "wrong.svg");
  EXPECT_EQ(Picture::read(folder / "right.png").count(kOrange), 0);
  EXPECT_GT(Picture::read(folder / "right.png").count(kBlue), 1000);
  EXPECT_GT(Picture::read(folder / "wrong.png").count(kOrange), 1000);
  const std::string svg = test::read_text(folder / "wrong.svg");
  EXPECT_NE(svg.find("✓"), std::string::npos);
  EXPECT_NE(svg.find("✗"), std::string::npos);
}

class ImageGridSize : public testing::TestWithParam<int> {};

TEST_P(ImageGridSize, FitsItsPage) {
  std::vector<GridCell> cells;
  for (int i = 0; i < GetParam(); ++i) {
    cells.push_back({pattern(32, 32, 3, i),
                     {{"", "white wolf, Arctic wolf, Canis lupus tundrarum", "", colour::kText}, {"as ", "tench", ""}},
                     i % 3 == 0 ? Mark::wrong : Mark::right});
  }
  const GridLayout layout = layout_grid(cells, {"A title of some length that says what is shown here", "and more"});
  EXPECT_GE(layout.columns * layout.rows, GetParam());
  EXPECT_LT((layout.rows - 1) * layout.columns, GetParam()) << "no empty row";
  EXPECT_LE(layout.width, 5000);
  EXPECT_LE(layout.height, 7500);
  EXPECT_GE(layout.caption_points, 12);
  for (size_t i = 0; i < cells.size(); ++i) {
    const GridLayout::Place& place = layout.cells[i];
    EXPECT_GE(place.width, 64);
    EXPECT_GE(place.x, 20);
    EXPECT_LE(place.x + place.width, layout.width - 20);
    EXPECT_LE(place.caption_y, layout.height - 30);
    EXPECT_LT(place.y + place.height, place.caption_y);
    // The neighbour below and to the right begin where this cell has ended.
    if (i + 1 < cells.size() && (i + 1) % static_cast<size_t>(layout.columns) != 0) {
      EXPECT_GE(layout.cells[i + 1].caption_x - place.caption_x, layout.cell_width + 12);
    }
    if (i + static_cast<size_t>(layout.columns) < cells.size()) {
      EXPECT_GT(layout.cells[i + static_cast<size_t>(layout.columns)].y, place.caption_y + layout.caption_points);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cells, ImageGridSize, testing::Values(1, 2, 7, 24, 96, 200),
                         testing::PrintToStringParamName());

TEST(ImageGrid, RefusesWhatItCannotDraw) {
  TempDir folder;
  EXPECT_THROW(draw_image_grid({}, {}, folder / "none.png"), ShapeError);
  EXPECT_THROW(draw_image_grid({{pattern(2, 2, 4)}}, {}, folder / "four.png"), ShapeError);
  EXPECT_THROW(draw_image_grid({{pattern(2, 2, 1)}}, {}, folder / "grid.gif"), ConfigError);
  EXPECT_THROW(draw_image_grid({{pattern(2, 2, 1)}}, {}, folder / "none" / "grid.png"), IoError);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Tiles, LieOnWhite) {
  const std::vector<Image> images = {pattern(2, 3, 3), pattern(2, 3, 1, 7), pattern(2, 3, 3, 9)};
  const Image page = tile_images(images, 2, 4, 5);
  ASSERT_EQ(page.width, 5 + 2 * (12 + 5));
  ASSERT_EQ(page.height, 5 + 2 * (8 + 5));
  EXPECT_EQ(pixel(page, 0, 0), 0xFFFFFFu);
  EXPECT_EQ(pixel(page, 5 + 11, 5 + 7), pixel(images[0], 2, 1));
  EXPECT_EQ(pixel(page, 22 + 4, 5 + 4), pixel(images[1], 1, 1));
  EXPECT_EQ(pixel(page, 5, 18), pixel(images[2], 0, 0));
  EXPECT_EQ(pixel(page, 22, 18), 0xFFFFFFu) << "the place without a picture";
  EXPECT_THROW(tile_images({pattern(2, 3, 3), pattern(3, 2, 3)}, 2, 1, 0), ShapeError);
}

TEST(Png, IsWhatWasEncoded) {
  TempDir folder;
  for (const int channels : {1, 3}) {
    const Image image = pattern(9, 13, channels);
    write_png(image, folder / "image.png");
    const Picture read = Picture::read(folder / "image.png");
    EXPECT_EQ(read.width, 13);
    EXPECT_EQ(read.rgb, image.pixels);
  }
  EXPECT_THROW(encode_png({}), ShapeError);
  // RFC 4648, section 10.
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xFF\xFE\xFD"), "//79");
}

TEST(TextWidth, ShortensToSynonymsThenToAnEllipsis) {
  const std::string name = "tench, Tinca tinca";
  EXPECT_EQ(fitted(name, 12, 1000), name);
  EXPECT_EQ(fitted(name, 12, text_width(name, 12) - 1), "tench");
  EXPECT_EQ(fitted(name, 12, text_width("ten…", 12)), "ten…");
  EXPECT_EQ(fitted("Éclairé", 12, text_width("Écl…", 12)), "Écl…") << "whole characters";
  EXPECT_EQ(fitted("abc", 12, 0), "…");
  for (int pixels = 40; pixels < 400; pixels += 7) EXPECT_LE(text_width(fitted(name, 12, pixels), 12), pixels);
  EXPECT_EQ(wrapped("one two three", 10, text_width("one two", 10)), (std::vector<std::string>{"one two", "three"}));
  EXPECT_TRUE(wrapped("", 10, 100).empty());
}

TEST(FilterImages, AreGreyAtZeroAndFullAtTheLargest) {
  // Two kernels of 1x2 with three channels; the second is four times weaker.
  const Tensor weights = Tensor::from<float>({1, 0, -1, 0.5f, 0, 0, 0.25f, 0, 0, 0, -0.125f, 0}, {2, 1, 2, 3});
  const std::vector<Image> kernel = filter_images(weights, FilterScale::kernel);
  ASSERT_EQ(kernel.size(), 2u);
  EXPECT_EQ(kernel[0].channels, 3);
  EXPECT_EQ(kernel[0].pixels, (std::vector<uint8_t>{255, 128, 1, 192, 128, 128}));
  EXPECT_EQ(kernel[1].pixels, (std::vector<uint8_t>{255, 128, 128, 128, 65, 128}));
  const std::vector<Image> layer = filter_images(weights, FilterScale::layer);
  EXPECT_EQ(layer[0].pixels, kernel[0].pixels);
  EXPECT_EQ(layer[1].pixels, (std::vector<uint8_t>{160, 128, 128, 128, 112, 128}));
}

TEST(FilterImages, ZeroAndBrokenKernels) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Image> images = filter_images(Tensor::from<float>({0, 0, nan, 2}, {2, 2, 1, 1}));
  EXPECT_EQ(images[0].pixels, (std::vector<uint8_t>{128, 128}));
  EXPECT_EQ(images[1].pixels, (std::vector<uint8_t>{255, 255}));
  EXPECT_THROW(filter_images(Tensor::zeros({4, 9})), ShapeError);
  EXPECT_EQ(parse_filter_scale("layer"), FilterScale::layer);
  EXPECT_THROW(parse_filter_scale("image"), ConfigError);
}

TEST(FilterImages, ManyChannelsAreAMosaic) {
  // One 2x2 kernel with five channels, channel c constant at c/4: three slices across, two down.
  std::vector<float> values;
  for (int pixel = 0; pixel < 4; ++pixel) {
    for (int c = 0; c < 5; ++c) values.push_back(static_cast<float>(c) / 4.0f);
  }
  const Image image = filter_images(Tensor::from(values, {1, 2, 2, 5})).front();
  EXPECT_EQ(image.channels, 1);
  ASSERT_EQ(image.width, 3 * 3 - 1);
  ASSERT_EQ(image.height, 2 * 3 - 1);
  for (int c = 0; c < 5; ++c) {
    EXPECT_EQ(image.row(c / 3 * 3)[c % 3 * 3], std::lround(128.0 + 127.0 * c / 4.0)) << c;
  }
  EXPECT_EQ(image.row(0)[2], 255) << "the line between";
}

class DrawFilters : public testing::TestWithParam<int64_t> {};

TEST_P(DrawFilters, ShowsEveryKernel) {
  TempDir folder;
  Tensor weights = Tensor::zeros({GetParam(), 5, 5, 3});
  for (int64_t i = 0; i < weights.size(); ++i) weights.data<float>()[i] = static_cast<float>(i % 75 == 0 ? 1 : 0);
  draw_filters(weights, "conv1", folder / "filters.png");
  const Picture picture = Picture::read(folder / "filters.png");
  // Each has one pixel of full red, 128 in green and blue.
  const int64_t red = picture.count(0xFF8080);
  EXPECT_EQ(red % GetParam(), 0);
  const double side = std::sqrt(static_cast<double>(red) / static_cast<double>(GetParam()));
  EXPECT_EQ(side, std::floor(side));
  EXPECT_GE(side, 10);
  draw_filters(weights, "conv1", folder / "one.png", FilterScale::layer, 1);
  EXPECT_LT(Picture::read(folder / "one.png").width, 1100);
}

INSTANTIATE_TEST_SUITE_P(Kernels, DrawFilters, testing::Values(1, 6, 96), testing::PrintToStringParamName());

}  // namespace
}  // namespace striate
