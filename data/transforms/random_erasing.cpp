#include "data/transforms/random_erasing.h"

#include <cmath>

namespace striate {

void RandomErasing::apply(Image& image, Random& random, TransformScratch&) const {
  if (random.uniform() >= options_.probability) return;
  const double area = static_cast<double>(image.height) * image.width;
  const double log_min = std::log(options_.ratio_min), log_max = std::log(options_.ratio_max);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double erased = area * (options_.scale_min + (options_.scale_max - options_.scale_min) * random.uniform());
    const double ratio = std::exp(log_min + (log_max - log_min) * random.uniform());
    const double rows = std::nearbyint(std::sqrt(erased * ratio)), columns = std::nearbyint(std::sqrt(erased / ratio));
    if (!(rows < image.height && columns < image.width)) continue;
    const int height = static_cast<int>(rows), width = static_cast<int>(columns);
    const int top = static_cast<int>(random.below(static_cast<uint64_t>(image.height - height + 1)));
    const int left = static_cast<int>(random.below(static_cast<uint64_t>(image.width - width + 1)));
    const size_t begin = static_cast<size_t>(left) * image.channels,
                 values = static_cast<size_t>(width) * image.channels;
    for (int y = top; y < top + height; ++y) {
      uint8_t* out = image.row(y) + begin;
      uint32_t bits = 0;
      for (size_t i = 0; i < values; ++i) {
        if (options_.fill == Fill::random) {
          if (i % 4 == 0) bits = random.word();
          out[i] = static_cast<uint8_t>(bits >> (8 * (i % 4)));
        } else {
          out[i] = options_.fill == Fill::mean ? mean_[i % image.channels] : uint8_t{0};
        }
      }
    }
    return;
  }
}

}  // namespace striate
