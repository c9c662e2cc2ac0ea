#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "data/datasets/hdf5/hdf5.h"
#include "kernels/error.h"
#include "tests/data/hdf5_files.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate::test {

using Extents = std::vector<uint64_t>;

constexpr int kImages = 23, kHeight = 10, kWidth = 14;

inline uint8_t pixel(int64_t image, int y, int x, int c) {
  return static_cast<uint8_t>(image * 31 + y * 7 + x * 3 + c * 50 + (x * y + image) % 11);
}

enum class Order { planes, pixels, grey, grey_first, grey_last };

inline Extents extents_of(Order order, uint64_t images = kImages) {
  switch (order) {
    case Order::planes:
      return {images, 3, kHeight, kWidth};
    case Order::pixels:
      return {images, kHeight, kWidth, 3};
    case Order::grey:
      return {images, kHeight, kWidth};
    case Order::grey_first:
      return {images, 1, kHeight, kWidth};
    case Order::grey_last:
      return {images, kHeight, kWidth, 1};
  }
  return {};
}

inline int channels_of(Order order) { return order == Order::planes || order == Order::pixels ? 3 : 1; }

inline std::vector<uint8_t> values_of(Order order, int images = kImages) {
  std::vector<uint8_t> values;
  for (int i = 0; i < images; ++i) {
    if (order == Order::planes) {
      for (int c = 0; c < 3; ++c)
        for (int y = 0; y < kHeight; ++y)
          for (int x = 0; x < kWidth; ++x) values.push_back(pixel(i, y, x, c));
    } else {
      for (int y = 0; y < kHeight; ++y)
        for (int x = 0; x < kWidth; ++x)
          for (int c = 0; c < channels_of(order); ++c) values.push_back(pixel(i, y, x, c));
    }
  }
  return values;
}

inline std::vector<int64_t> labels_of(int images = kImages, int classes = 5) {
  std::vector<int64_t> labels(images);
  for (int i = 0; i < images; ++i) labels[i] = i % classes;
  return labels;
}

inline void write_part(Hdf5Writer& file, const std::string& part, int images = kImages, Order order = Order::pixels) {
  file.bytes("images-" + part, extents_of(order, images), values_of(order, images));
  file.integers("labels-" + part, {static_cast<uint64_t>(images)}, labels_of(images));
}

/// Image `index` is the formula's, and where `written` images were, the rest is the fill value.
inline bool is_right(const Image& image, int64_t index, int channels, int64_t written = kImages) {
  if (image.height != kHeight || image.width != kWidth || image.channels != channels) return false;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      for (int c = 0; c < channels; ++c) {
        const uint8_t expected = index < written ? pixel(index, y, x, c) : 77;
        if (image.row(y)[x * channels + c] != expected) return false;
      }
    }
  }
  return true;
}

class Hdf5File : public ::testing::Test {
 protected:
  std::string path() const { return (dir_ / "a.h5").string(); }
  DatasetParts open(const std::string& names = "") const { return open_hdf5(path(), names); }
  testing::AssertionResult refuses(std::initializer_list<std::string> parts) const {
    return throws_with<IoError>([&] { open(); }, parts);
  }
  TempDir dir_;
};

}  // namespace striate::test
