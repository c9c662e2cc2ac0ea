#include "data/transforms/color.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/transforms/channels.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// Pillow's Image.blend: from the degenerate value to the pixel's own and beyond, cut to 8 bits without rounding.
uint8_t blend(int degenerate, int value, float factor) {
  const float mixed = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
  return static_cast<uint8_t>(std::clamp(mixed, 0.0f, 255.0f));
}

/// All pixels move towards one value: a table of what becomes of each level.
void blend_towards(Image& image, int degenerate, float factor) {
  std::array<uint8_t, 256> table;
  for (int level = 0; level < 256; ++level) table[level] = blend(degenerate, level, factor);
  for (auto& pixel : image.pixels) pixel = table[pixel];
}

int mean_luminance(const Image& image) {
  uint64_t sum = 0;
  const size_t count = static_cast<size_t>(image.height) * image.width;
  for (size_t p = 0; p < count; ++p) {
    const uint8_t* pixel = image.pixels.data() + p * image.channels;
    sum += image.channels == 1 ? pixel[0] : luminance(pixel[0], pixel[1], pixel[2]);
  }
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(count) + 0.5);
}

struct Hsv {
  uint8_t hue, saturation, value;
};

/// Pillow's 8-bit HSV (src/libImaging/Convert.c), with its mixture of float and double.
Hsv to_hsv(const uint8_t* rgb) {
  const int r = rgb[0], g = rgb[1], b = rgb[2];
  const int high = std::max({r, g, b}), low = std::min({r, g, b});
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  const float range = static_cast<float>(high - low);
  const float from_r = static_cast<float>(high - r) / range, from_g = static_cast<float>(high - g) / range;
  const float from_b = static_cast<float>(high - b) / range;
  const float sextant = r == high   ? from_b - from_g
                        : g == high ? static_cast<float>(2.0 + from_r - from_b)
                                    : static_cast<float>(4.0 + from_g - from_r);
  // A negative hue comes round the circle.
  const float hue = static_cast<float>(std::fmod(sextant / 6.0 + 1.0, 1.0));
  const float saturation = range / static_cast<float>(high);
  return {static_cast<uint8_t>(std::clamp(static_cast<int>(hue * 255.0), 0, 255)),
          static_cast<uint8_t>(std::clamp(static_cast<int>(saturation * 255.0), 0, 255)), static_cast<uint8_t>(high)};
}

void to_rgb(const Hsv& hsv, uint8_t* rgb) {
  if (hsv.saturation == 0) {
    rgb[0] = rgb[1] = rgb[2] = hsv.value;
    return;
  }
  const float hue = static_cast<float>(hsv.hue * 6.0 / 255.0);
  const int sextant = static_cast<int>(hue);
  const float f = hue - static_cast<float>(sextant);
  const float s = static_cast<float>(hsv.saturation / 255.0);
  const auto level = [&](double share) {
    return static_cast<uint8_t>(std::clamp(static_cast<int>(std::round(hsv.value * share)), 0, 255));
  };
  const uint8_t v = hsv.value, p = level(1.0 - s), q = level(1.0 - s * f), t = level(1.0 - s * (1.0 - f));
  const std::array<std::array<uint8_t, 3>, 6> by_sextant = {
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::copy_n(by_sextant[sextant % 6].begin(), 3, rgb);
}

}  // namespace

void adjust_brightness(Image& image, float factor) { blend_towards(image, 0, factor); }

void adjust_contrast(Image& image, float factor) { blend_towards(image, mean_luminance(image), factor); }

void adjust_saturation(Image& image, float factor) {
  if (image.channels == 1) return;
  for (size_t p = 0; p < image.pixels.size(); p += 3) {
    uint8_t* rgb = image.pixels.data() + p;
    const int grey = luminance(rgb[0], rgb[1], rgb[2]);
    for (int c = 0; c < 3; ++c) rgb[c] = blend(grey, rgb[c], factor);
  }
}

void adjust_sharpness(Image& image, float factor, TransformScratch& scratch) {
  Image& sharp = scratch.image;
  sharp.reshape(image.height, image.width, image.channels);
  sharp.pixels = image.pixels;
  const int c = image.channels;
  for (int y = 1; y + 1 < image.height; ++y) {
    for (int i = c; i + c < image.width * c; ++i) {
      int sum = 4 * sharp.row(y)[i];
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -c; dx <= c; dx += c) sum += sharp.row(y + dy)[i + dx];
      }
      const int smooth = static_cast<int>(static_cast<double>(sum) / 13.0 + 0.5);
      image.row(y)[i] = blend(smooth, sharp.row(y)[i], factor);
    }
  }
}

void adjust_hue(Image& image, float turn) {
  if (image.channels == 1) return;
  // The hue is 8 bits and wraps round; the turn is cut to a whole number of its steps.
  const auto step = static_cast<uint8_t>(static_cast<int>(turn * 255.0f));
  for (size_t p = 0; p < image.pixels.size(); p += 3) {
    Hsv hsv = to_hsv(image.pixels.data() + p);
    hsv.hue = static_cast<uint8_t>(hsv.hue + step);
    to_rgb(hsv, image.pixels.data() + p);
  }
}

void ColorJitter::apply(Image& image, Random& random, TransformScratch&) const {
  std::array<int, 4> order = {0, 1, 2, 3};
  for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  // Every draw is made whether it is needed or not: a strength of 0 does not shift the others' draws.
  const auto factor = [&](float strength) {
    const float low = std::max(0.0f, 1.0f - strength);
    return low + (1.0f + strength - low) * random.uniform();
  };
  const float brightness = factor(strengths_.brightness), contrast = factor(strengths_.contrast);
  const float saturation = factor(strengths_.saturation), hue = strengths_.hue * (2.0f * random.uniform() - 1.0f);
  for (const int which : order) {
    if (which == 0 && strengths_.brightness > 0) adjust_brightness(image, brightness);
    if (which == 1 && strengths_.contrast > 0) adjust_contrast(image, contrast);
    if (which == 2 && strengths_.saturation > 0) adjust_saturation(image, saturation);
    if (which == 3 && strengths_.hue > 0) adjust_hue(image, hue);
  }
}

void PcaColor::apply(Image& image, Random& random, TransformScratch&) const {
  require<ShapeError>(image.channels == 3, "pca_color: expected an RGB image, found {} channel", image.channels);
  std::array<float, 3> weighted;
  for (int i = 0; i < 3; ++i) weighted[i] = options_.std * random.normal() * options_.eigenvalues[i];
  std::array<std::array<uint8_t, 256>, 3> table;
  for (int c = 0; c < 3; ++c) {
    float shift = 0.5f;  // rounds
    for (int i = 0; i < 3; ++i) shift += 255.0f * options_.eigenvectors[c][i] * weighted[i];
    for (int level = 0; level < 256; ++level) {
      table[c][level] = static_cast<uint8_t>(std::clamp(static_cast<float>(level) + shift, 0.0f, 255.0f));
    }
  }
  for (size_t p = 0; p < image.pixels.size(); p += 3) {
    for (int c = 0; c < 3; ++c) image.pixels[p + c] = table[c][image.pixels[p + c]];
  }
}

}  // namespace striate
