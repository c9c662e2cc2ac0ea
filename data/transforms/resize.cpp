#include "data/transforms/resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/image_file.h"
#include "kernels/error.h"

namespace striate {
namespace {

constexpr int kPrecisionBits = 22;  // 32 − 8 bits of the pixel − 2 of head room for a sum of weights above 1

/// The weights of Pillow's precompute_coeffs and normalize_coeffs_8bpc for the whole axis.
void prepare_axis(int in, int out, ResizeAxis& axis) {
  if (axis.in == in && axis.out == out) return;
  axis.in = in;
  axis.out = out;
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter_scale;  // the triangle reaches 1 on either side
  axis.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  axis.first.resize(out);
  axis.count.resize(out);
  axis.weights.assign(static_cast<size_t>(out) * axis.taps, 0);
  std::vector<double> exact(axis.taps);
  for (int o = 0; o < out; ++o) {
    const double centre = (o + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int count = std::min(static_cast<int>(centre + support + 0.5), in) - first;
    double sum = 0.0;
    for (int t = 0; t < count; ++t) {
      exact[t] = std::max(1.0 - std::abs((t + first - centre + 0.5) * (1.0 / filter_scale)), 0.0);
      sum += exact[t];
    }
    for (int t = 0; t < count; ++t) {
      if (sum != 0.0) exact[t] /= sum;
      axis.weights[static_cast<size_t>(o) * axis.taps + t] = static_cast<int>(0.5 + exact[t] * (1 << kPrecisionBits));
    }
    axis.first[o] = first;
    axis.count[o] = count;
  }
}

uint8_t rounded(int sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255)); }

template <int kChannels>
void resize_rows(const Image& from, const ResizeAxis& axis, Image& to) {
  for (int y = 0; y < from.height; ++y) {
    const uint8_t* in = from.row(y);
    uint8_t* out = to.row(y);
    for (int x = 0; x < axis.out; ++x) {
      const int* weight = axis.weights.data() + static_cast<size_t>(x) * axis.taps;
      const uint8_t* pixel = in + static_cast<size_t>(axis.first[x]) * kChannels;
      int sums[kChannels];
      for (int c = 0; c < kChannels; ++c) sums[c] = 1 << (kPrecisionBits - 1);
      for (int t = 0; t < axis.count[x]; ++t) {
        for (int c = 0; c < kChannels; ++c) sums[c] += pixel[t * kChannels + c] * weight[t];
      }
      for (int c = 0; c < kChannels; ++c) out[x * kChannels + c] = rounded(sums[c]);
    }
  }
}

void resize_columns(const Image& from, const ResizeAxis& axis, Image& to, std::vector<int>& sums) {
  const size_t bytes = from.row_bytes();
  sums.resize(bytes);
  int* sum = sums.data();
  for (int y = 0; y < axis.out; ++y) {
    std::fill_n(sum, bytes, 1 << (kPrecisionBits - 1));
    for (int t = 0; t < axis.count[y]; ++t) {
      const int weight = axis.weights[static_cast<size_t>(y) * axis.taps + t];
      const uint8_t* in = from.row(axis.first[y] + t);
      for (size_t i = 0; i < bytes; ++i) sum[i] += in[i] * weight;
    }
    uint8_t* out = to.row(y);
    for (size_t i = 0; i < bytes; ++i) out[i] = rounded(sum[i]);
  }
}

}  // namespace

void resize_bilinear(const Image& from, int height, int width, Image& to, TransformScratch& scratch) {
  const Image* rows_done = &from;
  if (width != from.width) {
    prepare_axis(from.width, width, scratch.horizontal);
    Image& out = height == from.height ? to : scratch.intermediate;
    out.reshape(from.height, width, from.channels);
    if (from.channels == 1) {
      resize_rows<1>(from, scratch.horizontal, out);
    } else {
      resize_rows<3>(from, scratch.horizontal, out);
    }
    rows_done = &out;
  }
  if (height != from.height) {
    prepare_axis(from.height, height, scratch.vertical);
    to.reshape(height, width, from.channels);
    resize_columns(*rows_done, scratch.vertical, to, scratch.sums);
  } else if (width == from.width) {
    to = from;
  }
}

void Resize::apply(Image& image, Random&, TransformScratch& scratch) const {
  int height = height_, width = width_;
  if (shorter_side_ > 0) {
    const int shorter = std::min(image.height, image.width), longer = std::max(image.height, image.width);
    const int64_t long_side = int64_t{shorter_side_} * longer / shorter;
    require<ShapeError>(long_side * shorter_side_ <= kMostPixels,
                        "resize: a {}×{} image with its shorter side at {} would have {}×{} pixels", image.height,
                        image.width, shorter_side_, shorter_side_, long_side);
    height = image.height <= image.width ? shorter_side_ : static_cast<int>(long_side);
    width = image.height <= image.width ? static_cast<int>(long_side) : shorter_side_;
  }
  if (height == image.height && width == image.width) return;
  resize_bilinear(image, height, width, scratch.image, scratch);
  std::swap(image, scratch.image);
}

}  // namespace striate
