#include "data/transforms/crop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "data/transforms/geometry.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// n/2 for n ≥ 0, a half rounded to even.
int half(int n) { return n / 2 + (n % 2) * (n / 2 % 2); }

Window draw_window(int height, int width, const RandomResizedCrop::Options& options, Random& random) {
  const double area = static_cast<double>(height) * width;
  const double log_min = std::log(options.ratio_min), log_max = std::log(options.ratio_max);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * (options.scale_min + (options.scale_max - options.scale_min) * random.uniform());
    const double ratio = std::exp(log_min + (log_max - log_min) * random.uniform());
    const double w = std::nearbyint(std::sqrt(target * ratio)), h = std::nearbyint(std::sqrt(target / ratio));
    if (w >= 1 && w <= width && h >= 1 && h <= height) {
      Window window{0, 0, static_cast<int>(h), static_cast<int>(w)};
      window.top = static_cast<int>(random.below(static_cast<uint64_t>(height - window.height + 1)));
      window.left = static_cast<int>(random.below(static_cast<uint64_t>(width - window.width + 1)));
      return window;
    }
  }
  Window window{0, 0, height, width};
  const double ratio = static_cast<double>(width) / height;
  if (ratio < options.ratio_min) {
    window.height = std::clamp(static_cast<int>(std::nearbyint(width / options.ratio_min)), 1, height);
  } else if (ratio > options.ratio_max) {
    window.width = std::clamp(static_cast<int>(std::nearbyint(height * options.ratio_max)), 1, width);
  }
  window.top = (height - window.height) / 2;
  window.left = (width - window.width) / 2;
  return window;
}

}  // namespace

void crop(const Image& from, int top, int left, int height, int width, Image& to) {
  to.reshape(height, width, from.channels);
  const int begin = std::clamp(-left, 0, width), end = std::clamp(from.width - left, begin, width);
  const auto bytes = [&](int pixels) { return static_cast<size_t>(pixels) * from.channels; };
  for (int y = 0; y < height; ++y) {
    uint8_t* out = to.row(y);
    if (y + top < 0 || y + top >= from.height || begin == end) {
      std::fill_n(out, to.row_bytes(), uint8_t{0});
      continue;
    }
    std::fill_n(out, bytes(begin), uint8_t{0});
    std::copy_n(from.row(y + top) + bytes(begin + left), bytes(end - begin), out + bytes(begin));
    std::fill_n(out + bytes(end), bytes(width - end), uint8_t{0});
  }
}

bool Pad::frame(Framing& framing, Random&) const {
  return framing.crop({-padding_, -padding_, framing.height() + 2 * padding_, framing.width() + 2 * padding_});
}

bool CenterCrop::frame(Framing& framing, Random&) const {
  const int below = framing.height() - height_, beside = framing.width() - width_;
  require<ShapeError>(below >= 0 && beside >= 0,
                      "center_crop: a {}×{} image is smaller than the crop of {}×{}; resize or pad before it",
                      framing.height(), framing.width(), height_, width_);
  return framing.crop({half(below), half(beside), height_, width_});
}

void TenCrop::apply(Image& image, Random&, TransformScratch& scratch) const {
  const int below = image.height - height_, beside = image.width - width_;
  require<ShapeError>(below >= 0 && beside >= 0,
                      "ten crops: a {}×{} image is smaller than the crop of {}×{}; resize or pad before it",
                      image.height, image.width, height_, width_);
  const std::array<std::array<int, 2>, 5> corners = {
      {{0, 0}, {0, beside}, {below, 0}, {below, beside}, {half(below), half(beside)}}};
  Image& stack = scratch.intermediate;
  stack.reshape(kCrops * height_, width_, image.channels);
  const auto bytes = static_cast<size_t>(height_) * stack.row_bytes();
  for (size_t i = 0; i < corners.size(); ++i) {
    crop(image, corners[i][0], corners[i][1], height_, width_, scratch.image);
    std::copy_n(scratch.image.pixels.data(), bytes, stack.pixels.data() + i * bytes);
    flip_horizontally(scratch.image);
    std::copy_n(scratch.image.pixels.data(), bytes, stack.pixels.data() + (i + corners.size()) * bytes);
  }
  std::swap(image, stack);
}

bool RandomCrop::frame(Framing& framing, Random& random) const {
  const int spare_height = framing.height() + 2 * padding_ - height_;
  const int spare_width = framing.width() + 2 * padding_ - width_;
  require<ShapeError>(
      spare_height >= 0 && spare_width >= 0,
      "random_crop: a {}×{} image with padding {} is smaller than the crop of {}×{}; resize before it or "
      "pad more",
      framing.height(), framing.width(), padding_, height_, width_);
  const int top = static_cast<int>(random.below(static_cast<uint64_t>(spare_height + 1))) - padding_;
  const int left = static_cast<int>(random.below(static_cast<uint64_t>(spare_width + 1))) - padding_;
  return framing.crop({top, left, height_, width_});
}

bool RandomResizedCrop::frame(Framing& framing, Random& random) const {
  if (!framing.resizable()) return false;
  framing.crop(draw_window(framing.height(), framing.width(), options_, random));
  framing.resize(options_.height, options_.width);
  return true;
}

}  // namespace striate
