#include "data/jpeg.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "engine/random.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/support/error.h"

namespace striate {
namespace {

using test::Bytes;
using test::JpegForm;

/// Colours that change from pixel to pixel, so that every sample of chroma matters.
Image noise(int height, int width, int channels, Random& random) {
  Image image;
  image.reshape(height, width, channels);
  for (auto& pixel : image.pixels) pixel = static_cast<uint8_t>(random.below(256));
  return image;
}

Image decode(const Bytes& bytes, const ChoosePart& choose, Part& part) {
  Image image;
  part = decode_jpeg(bytes, "picture", choose, image);
  return image;
}

Image decode_whole(const Bytes& bytes) {
  Part part;
  return decode(
      bytes,
      [](int height, int width) {
        return Part{{0, 0, height, width}};
      },
      part);
}

int within(Random& random, int low, int high) {
  return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low + 1)));
}

Window any_window(int height, int width, Random& random) {
  Window window;
  window.height = within(random, 1, height);
  window.width = within(random, 1, width);
  window.top = within(random, 0, height - window.height);
  window.left = within(random, 0, width - window.width);
  return window;
}

struct Case {
  std::string name;
  int channels;
  JpegForm form;
};

class JpegPart : public testing::TestWithParam<Case> {};

TEST_P(JpegPart, HoldsThePixelsOfTheWholePicture) {
  const auto& [name, channels, form] = GetParam();
  Random random(1, RandomPurpose::test);
  for (int picture = 0; picture < 12; ++picture) {
    const int height = within(random, 1, 120), width = within(random, 1, 120);
    const Bytes bytes = test::jpeg(noise(height, width, channels, random), 90, form);
    const Image whole = decode_whole(bytes);
    ASSERT_EQ(whole.height, height);
    ASSERT_EQ(whole.width, width);
    for (int i = 0; i < 25; ++i) {
      const Window wanted = any_window(height, width, random);
      Part part;
      const Image found = decode(
          bytes,
          [&](int told_height, int told_width) {
            EXPECT_EQ(told_height, height);
            EXPECT_EQ(told_width, width);
            return Part{wanted};
          },
          part);
      const Window& window = part.window;
      ASSERT_TRUE(window.top <= wanted.top && window.left <= wanted.left && window.bottom() >= wanted.bottom() &&
                  window.right() >= wanted.right());
      ASSERT_EQ(found.height, window.height);
      ASSERT_EQ(found.width, window.width);
      const auto bytes_of = [&](int pixels) { return static_cast<size_t>(pixels) * whole.channels; };
      for (int y = wanted.top; y < wanted.bottom(); ++y) {
        ASSERT_EQ(0, std::memcmp(found.row(y - window.top) + bytes_of(wanted.left - window.left),
                                 whole.row(y) + bytes_of(wanted.left), bytes_of(wanted.width)))
            << height << "×" << width << ", row " << y << " of the window " << wanted.top << "," << wanted.left << " "
            << wanted.height << "×" << wanted.width;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, JpegPart,
                         testing::Values(Case{"yuv420", 3, {}}, Case{"yuv444", 3, {1, 1}}, Case{"yuv422", 3, {2, 1}},
                                         Case{"yuv440", 3, {1, 2}}, Case{"yuv411", 3, {4, 1}},
                                         Case{"yuv410", 3, {4, 2}}, Case{"grey", 1, {}}, Case{"cmyk", 4, {}},
                                         Case{"progressive", 3, {2, 2, true}},
                                         Case{"restart_markers", 3, {2, 2, false, 1}}),
                         [](const auto& each) { return each.param.name; });

TEST_P(JpegPart, ReducedHoldsThePixelsOfTheWholeReducedPicture) {
  const auto& [name, channels, form] = GetParam();
  Random random(4, RandomPurpose::test);
  for (const int k : {2, 4, 8}) {
    for (int picture = 0; picture < 6; ++picture) {
      const int height = within(random, 1, 150), width = within(random, 1, 150);
      const Bytes bytes = test::jpeg(noise(height, width, channels, random), 90, form);
      Part all;
      const Image whole = decode(
          bytes,
          [&](int, int) {
            return Part{{0, 0, height, width}, k};
          },
          all);
      if (form.luma_columns * form.luma_rows > 4) {  // libjpeg-turbo errs there
        ASSERT_EQ(all.reduction, 1);
        ASSERT_EQ(whole.pixels, decode_whole(bytes).pixels);
        continue;
      }
      ASSERT_EQ(all.reduction, k);
      ASSERT_EQ(all.window, (Window{0, 0, height, width}));
      ASSERT_EQ(whole.height, (height + k - 1) / k);
      ASSERT_EQ(whole.width, (width + k - 1) / k);
      for (int i = 0; i < 10; ++i) {
        const Window wanted = any_window(height, width, random);
        Part part;
        const Image found = decode(
            bytes,
            [&](int, int) {
              return Part{wanted, k};
            },
            part);
        const Window& window = part.window;
        ASSERT_TRUE(window.top % k == 0 && window.left % k == 0);
        ASSERT_TRUE(window.top <= wanted.top && window.left <= wanted.left && window.bottom() >= wanted.bottom() &&
                    window.right() >= wanted.right());
        ASSERT_EQ(found.height, (window.height + k - 1) / k);
        ASSERT_EQ(found.width, (window.width + k - 1) / k);
        const int first = wanted.left / k, end = (wanted.right() + k - 1) / k;
        const auto bytes_of = [&](int pixels) { return static_cast<size_t>(pixels) * whole.channels; };
        for (int y = wanted.top / k; y < (wanted.bottom() + k - 1) / k; ++y) {
          ASSERT_EQ(0, std::memcmp(found.row(y - window.top / k) + bytes_of(first - window.left / k),
                                   whole.row(y) + bytes_of(first), bytes_of(end - first)))
              << "1/" << k << " of " << height << "×" << width << ", row " << y;
        }
      }
    }
  }
}

TEST(JpegPartOf, ATruncatedFileIsBrokenWhereverItsWindowLies) {
  Random random(2, RandomPurpose::test);
  Bytes bytes = test::jpeg(noise(100, 100, 3, random));
  bytes.resize(bytes.size() * 9 / 10);
  Part part;
  EXPECT_TRUE(test::throws_with<IoError>(
      [&] {
        decode(
            bytes,
            [](int, int) {
              return Part{{0, 0, 5, 5}};
            },
            part);
      },
      {"picture", "Premature end"}));
}

TEST(JpegPartOf, WhatStandsBehindTheLastRowMattersToNoWindow) {
  Random random(5, RandomPurpose::test);
  const Image image = noise(100, 100, 3, random);
  Bytes bytes = test::jpeg(image);
  const Image whole = decode_whole(bytes);
  const Bytes strange_header = {0xFF, 0xC7, 0, 4, 1, 2};
  bytes.insert(bytes.end() - 2, strange_header.begin(), strange_header.end());
  EXPECT_EQ(decode_whole(bytes).pixels, whole.pixels);
  for (const Window& window : {Window{0, 0, 5, 100}, Window{90, 0, 10, 100}}) {
    Part part;
    const Image found = decode(
        bytes, [&](int, int) { return Part{window}; }, part);
    EXPECT_EQ(0, std::memcmp(found.row(window.top - part.window.top), whole.row(window.top), 5 * whole.row_bytes()));
  }
}

TEST(JpegPartOf, WhatIsCutAwayIsNotComputed) {
  Random random(3, RandomPurpose::test);
  const Bytes bytes = test::jpeg(noise(100, 100, 3, random));
  Part part;
  const Image image = decode(
      bytes,
      [](int, int) {
        return Part{{40, 50, 10, 10}};
      },
      part);
  EXPECT_EQ(image.height, 10);
  EXPECT_LE(image.width, 10 + 2 * 16 + 4);  // blocks of 16 pixels, and what upsampling needs at the edges
}

}  // namespace
}  // namespace striate
