// A pixel at a time, as the contract says it.
#include <vector>

#include "kernels/image_batch/image_batch.h"
#include "kernels/image_batch/levels.h"

namespace striate::reference {
namespace {

/// Levels [H,W,C] of one picture after its steps.
template <int kChannels>
std::vector<levels::Pixel<kChannels>> seen(const ImageBatch& batch, const ImageBatchShape& s, int64_t n) {
  const ImagePlacement& place = batch.placements[n];
  std::vector<levels::Pixel<kChannels>> pixels(static_cast<size_t>(s.H) * s.W);
  for (int y = 0; y < s.H; ++y) {
    for (int x = 0; x < s.W; ++x) {
      const int row = place.top + y, column = place.left + (place.mirrored != 0 ? s.W - 1 - x : x);
      auto& pixel = pixels[static_cast<size_t>(y) * s.W + x];
      pixel = {};
      if (row < 0 || row >= place.rows || column < 0 || column >= place.columns) continue;
      const uint8_t* from = batch.pixels + n * s.slot_size() + (int64_t{row} * s.slot_w + column) * kChannels;
      for (int c = 0; c < kChannels; ++c) pixel.at[c] = from[c];
    }
  }
  for (int i = 0; i < place.steps; ++i) {
    double sum = 0;
    for (const auto& pixel : pixels) sum += levels::luminance(pixel);
    const int mean = levels::mean_level(sum, static_cast<int64_t>(pixels.size()));
    for (size_t p = 0; p < pixels.size(); ++p) {
      const int y = static_cast<int>(p) / s.W, x = static_cast<int>(p) % s.W;
      pixels[p] = levels::apply(batch.steps[n * s.steps + i], pixels[p], y, x, mean);
    }
  }
  return pixels;
}

template <typename T, int kChannels>
void transform(const ImageBatch& batch, T* y, const ImageBatchShape& s) {
  const auto scaled = [&](const levels::Pixel<kChannels>& pixel, int row, int column, int c) {
    return levels::scaled(batch.scaling, pixel.at[c], row, column, c, s.W, s.C);
  };
  for (int64_t n = 0; n < s.N; ++n) {
    const auto own = seen<kChannels>(batch, s, n);
    const auto partner = seen<kChannels>(batch, s, n == 0 ? s.pictures() - 1 : n - 1);
    for (size_t p = 0; p < own.size(); ++p) {
      const int row = static_cast<int>(p) / s.W, column = static_cast<int>(p) % s.W;
      for (int c = 0; c < kChannels; ++c) {
        const float mine = scaled(own[p], row, column, c), other = scaled(partner[p], row, column, c);
        float value = mine;
        if (batch.mix.kind == ImageMix::Kind::blend) value = levels::mixed(batch.mix, mine, other);
        if (batch.mix.kind == ImageMix::Kind::cut && levels::is_cut(batch.mix, row, column)) value = other;
        *y++ = levels::rounded<T>(value);
      }
    }
  }
}

}  // namespace

template <typename T>
void image_batch(const ImageBatch& batch, T* y, const ImageBatchShape& shape, Context&) {
  shape.check();
  shape.C == 1 ? transform<T, 1>(batch, y, shape) : transform<T, 3>(batch, y, shape);
}

template void image_batch(const ImageBatch&, float*, const ImageBatchShape&, Context&);
template void image_batch(const ImageBatch&, bfloat16*, const ImageBatchShape&, Context&);

}  // namespace striate::reference
