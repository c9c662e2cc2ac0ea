#pragma once

#include <array>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/image_batch/image_batch.h"
#include "kernels/philox.h"

// What LevelSteps do to one pixel: the arithmetic that every backend shares. Levels are ints of 0 … 255.

namespace striate::levels {

/// A pixel's levels.
template <int kChannels>
struct Pixel {
  int at[kChannels];
};

constexpr float within_levels(float x) { return x < 0.0f ? 0.0f : x > 255.0f ? 255.0f : x; }
constexpr int within_levels(int x) { return x < 0 ? 0 : x > 255 ? 255 : x; }

/// The luminance of a pixel by ITU-R 601, rounded as Pillow does (16 fractional bits).
constexpr int luminance(int r, int g, int b) { return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; }

/// Pillow's Image.blend: from the degenerate value to the pixel's own and beyond, cut to 8 bits without rounding.
constexpr int blend(int degenerate, int value, float factor) {
  const float mixed = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
  return static_cast<int>(within_levels(mixed));
}

constexpr int shifted(int level, float shift) {
  return static_cast<int>(within_levels(static_cast<float>(level) + shift));
}

/// The mean of `count` luminances, as Pillow's ImageStat rounds it.
constexpr int mean_level(double sum, int64_t count) { return static_cast<int>(sum / static_cast<double>(count) + 0.5); }

struct Hsv {
  int hue, saturation, value;
};

/// Pillow's 8-bit HSV (src/libImaging/Convert.c), with its mixture of float and double.
constexpr Hsv to_hsv(int r, int g, int b) {
  const int high = r > g ? (r > b ? r : b) : (g > b ? g : b), low = r < g ? (r < b ? r : b) : (g < b ? g : b);
  if (high == low) return {0, 0, high};
  const float range = static_cast<float>(high - low);
  const float from_r = static_cast<float>(high - r) / range, from_g = static_cast<float>(high - g) / range;
  const float from_b = static_cast<float>(high - b) / range;
  const float sextant = r == high   ? from_b - from_g
                        : g == high ? static_cast<float>(2.0 + from_r - from_b)
                                    : static_cast<float>(4.0 + from_g - from_r);
  // A negative hue comes round the circle; the sum lies in (0, 2).
  const double turns = sextant / 6.0 + 1.0;
  const float hue = static_cast<float>(turns >= 1.0 ? turns - 1.0 : turns);
  const float saturation = range / static_cast<float>(high);
  return {within_levels(static_cast<int>(hue * 255.0)), within_levels(static_cast<int>(saturation * 255.0)), high};
}

/// value·share to the nearest level, a half upwards.
constexpr int share_of(int value, double share) {
  const double exact = value * share;
  const int whole = static_cast<int>(exact);
  return within_levels(exact - whole >= 0.5 ? whole + 1 : whole);
}

constexpr Pixel<3> to_rgb(const Hsv& hsv) {
  if (hsv.saturation == 0) return {{hsv.value, hsv.value, hsv.value}};
  const float hue = static_cast<float>(hsv.hue * 6.0 / 255.0);
  const int sextant = static_cast<int>(hue);
  const float f = hue - static_cast<float>(sextant);
  const float s = static_cast<float>(hsv.saturation / 255.0);
  const int v = hsv.value, p = share_of(v, 1.0 - s), q = share_of(v, 1.0 - s * f), t = share_of(v, 1.0 - s * (1.0 - f));
  switch (sextant % 6) {
    case 0:
      return {{v, t, p}};
    case 1:
      return {{q, v, p}};
    case 2:
      return {{p, v, t}};
    case 3:
      return {{p, q, v}};
    case 4:
      return {{t, p, v}};
    default:
      return {{v, p, q}};
  }
}

/// The hue is 8 bits and wraps round; the turn is cut to a whole number of its steps.
constexpr Pixel<3> turn_hue(Pixel<3> pixel, float turn) {
  const int step = static_cast<int>(turn * 255.0f);
  Hsv hsv = to_hsv(pixel.at[0], pixel.at[1], pixel.at[2]);
  hsv.hue = (hsv.hue + step) & 255;
  return to_rgb(hsv);
}

/// Level i of row `row` of what `step` erases.
constexpr int random_level(const LevelStep& step, int row, int i, int row_levels) {
  const uint32_t k = step.first_word + static_cast<uint32_t>(row * ((row_levels + 3) / 4) + i / 4);
  const std::array<uint32_t, 4> words =
      philox4x32({k / 4, step.stream[0], step.stream[1], step.stream[2]}, {step.key[0], step.key[1]});
  const uint32_t word = k % 4 < 2 ? (k % 4 == 0 ? words[0] : words[1]) : (k % 4 == 2 ? words[2] : words[3]);
  return static_cast<int>(word >> (8 * (i % 4)) & 255u);
}

/// What a step makes of the pixel at (y, x) of a picture whose mean luminance before it is `mean`.
template <int kChannels>
constexpr Pixel<kChannels> apply(const LevelStep& step, Pixel<kChannels> pixel, int y, int x, int mean) {
  switch (step.kind) {
    case LevelStepKind::brightness:
    case LevelStepKind::contrast: {
      const int degenerate = step.kind == LevelStepKind::contrast ? mean : 0;
      for (int& level : pixel.at) level = blend(degenerate, level, step.amount[0]);
      break;
    }
    case LevelStepKind::saturation:
      if constexpr (kChannels == 3) {
        const int grey = luminance(pixel.at[0], pixel.at[1], pixel.at[2]);
        for (int& level : pixel.at) level = blend(grey, level, step.amount[0]);
      }
      break;
    case LevelStepKind::hue:
      if constexpr (kChannels == 3) pixel = turn_hue(pixel, step.amount[0]);
      break;
    case LevelStepKind::shift:
      for (int c = 0; c < kChannels; ++c) pixel.at[c] = shifted(pixel.at[c], step.amount[c]);
      break;
    case LevelStepKind::erase:
    case LevelStepKind::erase_randomly:
      if (y < step.top || y >= step.bottom || x < step.left || x >= step.right) break;
      for (int c = 0; c < kChannels; ++c) {
        pixel.at[c] = step.kind == LevelStepKind::erase
                          ? step.fill[c]
                          : random_level(step, y - step.top, (x - step.left) * kChannels + c,
                                         (step.right - step.left) * kChannels);
      }
      break;
  }
  return pixel;
}

/// The luminance of a pixel; a grey one is its own.
template <int kChannels>
constexpr int luminance(const Pixel<kChannels>& pixel) {
  if constexpr (kChannels == 1) {
    return pixel.at[0];
  } else {
    return luminance(pixel.at[0], pixel.at[1], pixel.at[2]);
  }
}

/// Without an index that a GPU's registers do not have.
template <typename T>
constexpr T of_channel(const T (&values)[3], int c) {
  return c == 0 ? values[0] : c == 1 ? values[1] : values[2];
}

/// What the network sees of the level at (row, column) of channel c.
constexpr float scaled(const PixelScaling& scaling, int level, int row, int column, int c, int width, int channels) {
  if (scaling.offsets != nullptr) {
    const int64_t place = (int64_t{row % scaling.offset_rows} * width + column) * channels + c;
    return static_cast<float>(level) * of_channel(scaling.factor, c) - scaling.offsets[place];
  }
  if (scaling.table != nullptr) return scaling.table[c * 256 + level];
  return static_cast<float>(level * of_channel(scaling.scale, c) + of_channel(scaling.shift, c));
}

constexpr float mixed(const ImageMix& mix, float own, float partner) {
  return mix.share * own + (1.0f - mix.share) * partner;
}
constexpr bool is_cut(const ImageMix& mix, int row, int column) {
  return row >= mix.top && row < mix.bottom && column >= mix.left && column < mix.right;
}

template <typename T>
constexpr T rounded(float value) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bfloat16(value);
  } else {
    return value;
  }
}

}  // namespace striate::levels
