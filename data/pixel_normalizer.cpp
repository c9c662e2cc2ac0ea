#include "data/pixel_normalizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "data/transforms/pixel_passes.h"

namespace striate {
namespace {

/// Rounded to the 44 bits that leave room for a level's 8 in a double: their product is exact.
double shortened(double scale) {
  int exponent = 0;
  const double digits = std::frexp(scale, &exponent);
  return std::ldexp(std::round(std::ldexp(digits, 44)), exponent - 44);
}

}  // namespace

PixelNormalizer::PixelNormalizer(const Normalization& normalization) : table_(normalization.table()) {
  if (normalization.mean_image != nullptr) mean_image_.emplace(*normalization.mean_image, normalization.std);
  const size_t channels = normalization.mean.size();
  for (size_t c = 0; c < channels; ++c) {
    scale_.push_back(shortened(1.0 / (255.0 * normalization.std[c])));
    // Where the mean is a level nothing is left of that level, as the table has it.
    shift_.push_back(-(255.0 * normalization.mean[c]) * scale_[c]);
  }
  if (mean_image_ || (channels != 1 && channels != 3)) return;
  Image levels;
  levels.reshape(1, 256, static_cast<int>(channels));
  for (size_t i = 0; i < levels.pixels.size(); ++i) levels.pixels[i] = static_cast<uint8_t>(i / channels);
  std::vector<float> scaled(levels.pixels.size()), looked_up(scaled.size());
  apply(levels, false, looked_up.data());
  scales_ = true;
  apply(levels, false, scaled.data());
  scales_ = std::memcmp(scaled.data(), looked_up.data(), scaled.size() * sizeof(float)) == 0;
}

void PixelNormalizer::apply(const Image& image, bool streamed, float* out) const {
  if (mean_image_) return mean_image_->apply(image, out);
  const uint8_t* in = image.pixels.data();
  const size_t count = image.pixels.size(), channels = scale_.size();
  if (scales_) return scale_pixels(in, count, image.channels, scale_.data(), shift_.data(), streamed, out);
  for (size_t i = 0; i < count; i += channels) {
    for (size_t c = 0; c < channels; ++c) out[i + c] = table_[c * 256 + in[i + c]];
  }
}

PixelScaling PixelNormalizer::scaling() const {
  PixelScaling scaling;
  if (mean_image_) {
    mean_image_->describe(scaling);
  } else if (scales_) {
    std::copy(scale_.begin(), scale_.end(), scaling.scale);
    std::copy(shift_.begin(), shift_.end(), scaling.shift);
  } else {
    scaling.table = table_.data();
  }
  return scaling;
}

}  // namespace striate
