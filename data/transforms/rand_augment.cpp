#include "data/transforms/rand_augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "data/transforms/color.h"
#include "data/transforms/geometry.h"

namespace striate {
namespace {

using Table = std::array<uint8_t, 256>;

template <typename Level>
void map_levels(Image& image, Level&& level) {
  Table table;
  for (int v = 0; v < 256; ++v) table[v] = static_cast<uint8_t>(level(v));
  for (auto& pixel : image.pixels) pixel = table[pixel];
}

/// A table a channel, made from how often each of its levels occurs; Pillow's ImageOps work so.
template <typename Make>
void map_channels(Image& image, Make&& make) {
  for (int c = 0; c < image.channels; ++c) {
    std::array<int64_t, 256> count{};
    for (size_t i = c; i < image.pixels.size(); i += image.channels) ++count[image.pixels[i]];
    const Table table = make(count);
    for (size_t i = c; i < image.pixels.size(); i += image.channels) image.pixels[i] = table[image.pixels[i]];
  }
}

Table unchanged() {
  Table table;
  for (int v = 0; v < 256; ++v) table[v] = static_cast<uint8_t>(v);
  return table;
}

/// The darkest level becomes 0, the brightest 255.
Table stretch(const std::array<int64_t, 256>& count) {
  int low = 0, high = 255;
  while (low < 255 && count[low] == 0) ++low;
  while (high > 0 && count[high] == 0) --high;
  Table table = unchanged();
  if (high <= low) return table;
  const double scale = 255.0 / (high - low), offset = -low * scale;
  for (int v = 0; v < 256; ++v)
    table[v] = static_cast<uint8_t>(std::clamp(static_cast<int>(v * scale + offset), 0, 255));
  return table;
}

/// Levels spread so that about as many pixels lie between any two.
Table spread(const std::array<int64_t, 256>& count) {
  int64_t all = 0, brightest = 0;
  int levels = 0;
  for (const int64_t n : count) {
    all += n;
    if (n > 0) {
      brightest = n;
      ++levels;
    }
  }
  Table table = unchanged();
  const int64_t step = (all - brightest) / 255;
  if (levels <= 1 || step == 0) return table;
  int64_t below = step / 2;
  for (int v = 0; v < 256; ++v) {
    table[v] = static_cast<uint8_t>(std::min<int64_t>(below / step, 255));
    below += count[v];
  }
  return table;
}

}  // namespace

void augment(Image& image, AugmentOperation operation, int magnitude, bool negative, TransformScratch& scratch) {
  const double sign = negative ? -1.0 : 1.0;
  // torch.linspace counts in float, from whichever end is nearer, with one rounding: where a level or a place lies
  // halfway the last bit decides.
  const auto share_of = [&](double most) {
    const int steps = RandAugment::kLargestMagnitude, left = steps - magnitude;
    const float end = static_cast<float>(most), step = end / static_cast<float>(steps);
    const float from_start = step * static_cast<float>(magnitude),
                from_end = std::fma(-step, static_cast<float>(left), end);
    return sign * static_cast<double>(magnitude < (steps + 1) / 2 ? from_start : from_end);
  };
  const auto pixels = [&](int side) { return static_cast<int>(share_of(150.0 / 331.0 * side)); };
  const auto factor = static_cast<float>(1.0 + share_of(0.9));
  const auto mapped = [&](const std::array<double, 6>& by) {
    map_affinely(image, by, scratch.image);
    std::swap(image, scratch.image);
  };
  switch (operation) {
    case AugmentOperation::identity:
      return;
    case AugmentOperation::shear_x:
      return mapped({1, share_of(0.3), 0, 0, 1, 0});
    case AugmentOperation::shear_y:
      return mapped({1, 0, 0, share_of(0.3), 1, 0});
    case AugmentOperation::translate_x:
      return mapped({1, 0, -1.0 * pixels(image.width), 0, 1, 0});
    case AugmentOperation::translate_y:
      return mapped({1, 0, 0, 0, 1, -1.0 * pixels(image.height)});
    case AugmentOperation::rotate:
      rotate(image, share_of(30.0), false, scratch.image);
      return std::swap(image, scratch.image);
    case AugmentOperation::brightness:
      return adjust_brightness(image, factor);
    case AugmentOperation::color:
      return adjust_saturation(image, factor);
    case AugmentOperation::contrast:
      return adjust_contrast(image, factor);
    case AugmentOperation::sharpness:
      return adjust_sharpness(image, factor, scratch);
    case AugmentOperation::posterize: {
      const int dropped = static_cast<int>(std::nearbyint(std::abs(share_of(4.0))));
      return map_levels(image, [&](int v) { return v >> dropped << dropped; });
    }
    case AugmentOperation::solarize: {
      const double threshold = 255.0 - std::abs(share_of(255.0));
      return map_levels(image, [&](int v) { return v < threshold ? v : 255 - v; });
    }
    case AugmentOperation::auto_contrast:
      return map_channels(image, stretch);
    case AugmentOperation::equalize:
      return map_channels(image, spread);
  }
}

void RandAugment::apply(Image& image, Random& random, TransformScratch& scratch) const {
  for (int i = 0; i < operations_; ++i) {
    const auto operation = static_cast<AugmentOperation>(random.below(kAugmentOperations));
    augment(image, operation, magnitude_, random.chance(0.5f), scratch);
  }
}

}  // namespace striate
