#include "tools/experiments/kernel_film.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/train/atomic_file.h"
#include "tools/experiments/animated_png.h"
#include "tools/experiments/image_grid.h"

namespace striate {
namespace {

constexpr int kGlyphWidth = 5, kGlyphHeight = 7, kDot = 3;
constexpr int kFooter = kDot * (kGlyphHeight + 6);
constexpr uint8_t kInk = 0x22, kPale = 0xE3;

/// Letters of 5×7 dots, a row a number, the leftmost dot the highest bit.
struct Glyph {
  char character;
  std::array<uint8_t, kGlyphHeight> rows;
};
constexpr Glyph kGlyphs[] = {
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},    {'2', {14, 17, 1, 2, 4, 8, 31}},
    {'3', {31, 2, 4, 2, 1, 17, 14}},     {'4', {2, 6, 10, 18, 31, 2, 2}},   {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},     {'8', {14, 17, 17, 14, 17, 17, 14}},
    {'9', {14, 17, 17, 15, 1, 2, 12}},   {'e', {0, 0, 14, 17, 31, 16, 14}}, {'p', {0, 0, 30, 17, 17, 30, 16}},
    {'o', {0, 0, 14, 17, 17, 17, 14}},   {'c', {0, 0, 14, 16, 16, 17, 14}}, {'h', {16, 16, 22, 25, 17, 17, 17}}};

void fill(Image& image, int x0, int y0, int width, int height, uint8_t level) {
  for (int y = std::max(0, y0); y < std::min(image.height, y0 + height); ++y) {
    uint8_t* row = image.row(y);
    for (int x = std::max(0, x0); x < std::min(image.width, x0 + width); ++x) {
      for (int c = 0; c < image.channels; ++c) row[x * image.channels + c] = level;
    }
  }
}

/// Where the next letter would stand.
int write(Image& image, std::string_view text, int x, int y) {
  for (const char character : text) {
    for (const Glyph& glyph : kGlyphs) {
      if (glyph.character != character) continue;
      for (int row = 0; row < kGlyphHeight; ++row) {
        for (int dot = 0; dot < kGlyphWidth; ++dot) {
          if ((glyph.rows[static_cast<size_t>(row)] >> (kGlyphWidth - 1 - dot) & 1) == 0) continue;
          fill(image, x + dot * kDot, y + row * kDot, kDot, kDot, kInk);
        }
      }
    }
    x += (kGlyphWidth + 1) * kDot;
  }
  return x;
}

/// The kernels of an epoch, and below them its number and a bar from the first epoch to the last.
Image frame(const std::vector<Image>& kernels, int columns, int enlarged, int64_t epoch, double done) {
  constexpr int kGap = 3, kLeastWidth = 320;
  const Image tiles = tile_images(kernels, columns, enlarged, kGap);
  Image image;
  image.reshape(tiles.height + kFooter, std::max(tiles.width, kLeastWidth), 3);
  std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{0xFF});
  const int left = (image.width - tiles.width) / 2;
  for (int y = 0; y < tiles.height; ++y) {
    std::copy_n(tiles.row(y), tiles.row_bytes(), image.row(y) + 3 * left);
  }
  const int top = tiles.height + 3 * kDot;
  write(image, "epoch " + std::to_string(epoch), kGap, top);
  // At one place, however many digits the epochs have.
  const int bar = kGap + 13 * (kGlyphWidth + 1) * kDot, width = image.width - kGap - bar;
  const int height = 2 * kDot, y = top + (kGlyphHeight * kDot - height) / 2;
  fill(image, bar, y, width, height, kPale);
  fill(image, bar, y, static_cast<int>(std::lround(done * width)), height, kInk);
  return image;
}

/// Square to twice as wide as high, with as few empty places as can be.
int columns_for(int count) {
  const int least = static_cast<int>(std::ceil(std::sqrt(static_cast<double>(count))));
  int best = least;
  const auto empty = [&](int columns) { return (count + columns - 1) / columns * columns - count; };
  for (int columns = least; columns <= least + least / 2; ++columns) {
    if (empty(columns) < empty(best)) best = columns;
  }
  return best;
}

}  // namespace

void write_kernel_film(const KernelHistory& history, const std::filesystem::path& apng) {
  constexpr int kWidth = 660;
  constexpr double kSeconds = 8.0, kShortest = 0.08, kLongest = 0.6, kLast = 2.0;
  const auto height = static_cast<int>(history.height), width = static_cast<int>(history.width),
             channels = static_cast<int>(history.channels), count = static_cast<int>(history.count);
  const int columns = columns_for(count);
  const int enlarged = std::max(1, kWidth / (columns * width) - 1);
  const size_t size = static_cast<size_t>(height) * width * channels;
  const auto epochs = static_cast<double>(history.epochs.size());
  const double seconds = std::clamp(kSeconds / epochs, kShortest, kLongest);
  const int64_t first = history.epochs.front(), last = history.epochs.back();
  std::vector<FilmFrame> frames;
  const uint8_t* pixels = history.pixels.data();
  for (const int64_t epoch : history.epochs) {
    std::vector<Image> kernels(static_cast<size_t>(count));
    for (Image& kernel : kernels) {
      kernel.reshape(height, width, channels);
      std::copy_n(pixels, size, kernel.pixels.data());
      pixels += size;
    }
    const double done = last > first ? static_cast<double>(epoch - first) / static_cast<double>(last - first) : 1.0;
    frames.push_back({frame(kernels, columns, enlarged, epoch, done), epoch == last ? kLast : seconds});
  }
  write_file_atomically(apng.string(), encode_animated_png(frames));
}

}  // namespace striate
