// A step over a whole picture: what becomes of each level is worked out once, where nothing but the level counts.
#include <algorithm>
#include <array>

#include "kernels/image_batch/image_batch.h"
#include "kernels/image_batch/levels.h"

namespace striate::cpu {
namespace {

using Table = std::array<uint8_t, 256>;

void blend_towards(int degenerate, float factor, uint8_t* pixels, size_t count) {
  Table table;
  for (int level = 0; level < 256; ++level)
    table[level] = static_cast<uint8_t>(levels::blend(degenerate, level, factor));
  for (size_t i = 0; i < count; ++i) pixels[i] = table[pixels[i]];
}

int mean_luminance(const uint8_t* pixels, int64_t count, int channels) {
  uint64_t sum = 0;
  for (int64_t p = 0; p < count; ++p, pixels += channels) {
    sum += static_cast<uint64_t>(channels == 1 ? pixels[0] : levels::luminance(pixels[0], pixels[1], pixels[2]));
  }
  return levels::mean_level(static_cast<double>(sum), count);
}

void shift_levels(const LevelStep& step, uint8_t* pixels, size_t count, int channels) {
  std::array<Table, 3> tables;
  for (int c = 0; c < channels; ++c) {
    for (int level = 0; level < 256; ++level) {
      tables[c][level] = static_cast<uint8_t>(levels::shifted(level, step.amount[c]));
    }
  }
  for (size_t p = 0; p < count; p += static_cast<size_t>(channels)) {
    for (int c = 0; c < channels; ++c) pixels[p + c] = tables[c][pixels[p + c]];
  }
}

void erase(const LevelStep& step, uint8_t* pixels, int width, int channels) {
  const size_t values = static_cast<size_t>(step.right - step.left) * channels;
  for (int y = step.top; y < step.bottom; ++y) {
    uint8_t* out = pixels + (static_cast<size_t>(y) * width + step.left) * channels;
    if (step.kind == LevelStepKind::erase) {
      for (size_t i = 0; i < values; ++i) out[i] = step.fill[i % channels];
      continue;
    }
    // Four levels a word, and four words a block.
    uint32_t k = step.first_word + static_cast<uint32_t>((y - step.top) * ((values + 3) / 4));
    std::array<uint32_t, 4> words{};
    for (size_t i = 0; i < values; ++i) {
      if (i % 4 == 0 && (i == 0 || k % 4 == 0)) {
        words = philox4x32({k / 4, step.stream[0], step.stream[1], step.stream[2]}, {step.key[0], step.key[1]});
      }
      out[i] = static_cast<uint8_t>(words[k % 4] >> (8 * (i % 4)));
      if (i % 4 == 3) ++k;
    }
  }
}

}  // namespace

void apply_level_step(const LevelStep& step, uint8_t* pixels, int height, int width, int channels) {
  const int64_t count = int64_t{height} * width;
  const auto values = static_cast<size_t>(count) * channels;
  switch (step.kind) {
    case LevelStepKind::brightness:
      return blend_towards(0, step.amount[0], pixels, values);
    case LevelStepKind::contrast:
      return blend_towards(mean_luminance(pixels, count, channels), step.amount[0], pixels, values);
    case LevelStepKind::saturation:
      if (channels == 1) return;
      for (size_t p = 0; p < values; p += 3) {
        uint8_t* rgb = pixels + p;
        const int grey = levels::luminance(rgb[0], rgb[1], rgb[2]);
        for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(levels::blend(grey, rgb[c], step.amount[0]));
      }
      return;
    case LevelStepKind::hue:
      if (channels == 1) return;
      for (size_t p = 0; p < values; p += 3) {
        uint8_t* rgb = pixels + p;
        const levels::Pixel<3> turned = levels::turn_hue({{rgb[0], rgb[1], rgb[2]}}, step.amount[0]);
        for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(turned.at[c]);
      }
      return;
    case LevelStepKind::shift:
      return shift_levels(step, pixels, values, channels);
    case LevelStepKind::erase:
    case LevelStepKind::erase_randomly:
      return erase(step, pixels, width, channels);
  }
}

}  // namespace striate::cpu
