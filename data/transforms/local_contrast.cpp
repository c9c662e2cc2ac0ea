#include "data/transforms/local_contrast.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace striate {
namespace {

/// Gaussian means of `from` [lines, length, stride] along its middle axis, by the weights that fall inside.
void blur_axis(const std::vector<float>& from, int lines, int length, int stride, const std::vector<float>& weights,
               std::vector<float>& to) {
  to.resize(from.size());
  const int radius = static_cast<int>(weights.size()) - 1;
  for (int i = 0; i < length; ++i) {
    const int first = std::max(0, i - radius), last = std::min(length - 1, i + radius);
    float total = 0;
    for (int j = first; j <= last; ++j) total += weights[static_cast<size_t>(std::abs(j - i))];
    for (int line = 0; line < lines; ++line) {
      const float* in = from.data() + static_cast<size_t>(line) * length * stride;
      float* out = to.data() + (static_cast<size_t>(line) * length + i) * stride;
      std::fill_n(out, stride, 0.0f);
      for (int j = first; j <= last; ++j) {
        const float weight = weights[static_cast<size_t>(std::abs(j - i))] / total;
        for (int k = 0; k < stride; ++k) out[k] += weight * in[static_cast<size_t>(j) * stride + k];
      }
    }
  }
}

}  // namespace

LocalContrast::LocalContrast(double sigma, double floor) : floor_(static_cast<float>(floor)) {
  const int radius = std::max(1, static_cast<int>(std::ceil(3 * sigma)));
  for (int i = 0; i <= radius; ++i) weights_.push_back(static_cast<float>(std::exp(-i * i / (2 * sigma * sigma))));
}

void LocalContrast::apply(Image& image, Random&, TransformScratch& scratch) const {
  auto& [values, means, half] = scratch.planes;
  values.assign(image.pixels.begin(), image.pixels.end());
  const int channels = image.channels, row = image.width * channels;
  blur_axis(values, 1, image.height, row, weights_, half);
  blur_axis(half, image.height, image.width, channels, weights_, means);
  for (size_t i = 0; i < values.size(); ++i) values[i] -= means[i];
  // One variance a pixel, of its channels together, so that colours keep their relation.
  const size_t pixels = values.size() / static_cast<size_t>(channels);
  means.resize(pixels);
  for (size_t p = 0; p < pixels; ++p) {
    float squares = 0;
    for (int c = 0; c < channels; ++c) squares += values[p * channels + c] * values[p * channels + c];
    means[p] = squares / static_cast<float>(channels);
  }
  std::vector<float>& variance = means;
  blur_axis(variance, 1, image.height, image.width, weights_, half);
  blur_axis(half, image.height, image.width, 1, weights_, variance);
  for (size_t p = 0; p < pixels; ++p) {
    const float gain = 42.0f / std::max(std::sqrt(variance[p]), floor_);
    for (int c = 0; c < channels; ++c) {
      const float level = 128.5f + gain * values[p * channels + c];
      image.pixels[p * channels + c] = static_cast<uint8_t>(std::clamp(level, 0.0f, 255.0f));
    }
  }
}

}  // namespace striate
