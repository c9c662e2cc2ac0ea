#include "data/normalization.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "data/transforms/channels.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// How often each level occurs, a channel a row.
using Histogram = std::array<std::array<uint64_t, 256>, 3>;

void count_levels(const Image& image, Histogram& histogram) {
  const uint8_t* pixel = image.pixels.data();
  const size_t count = static_cast<size_t>(image.height) * image.width;
  for (size_t p = 0; p < count; ++p) {
    for (int c = 0; c < image.channels; ++c) ++histogram[c][*pixel++];
  }
}

}  // namespace

std::vector<float> Normalization::table() const {
  std::vector<float> table(mean.size() * 256);
  for (size_t c = 0; c < mean.size(); ++c) {
    for (int level = 0; level < 256; ++level) {
      table[c * 256 + level] = static_cast<float>((level / 255.0 - mean[c]) / std[c]);
    }
  }
  return table;
}

std::vector<double> Normalization::subtracted() const {
  return mean_image == nullptr ? mean : std::vector<double>(mean_image->values.begin(), mean_image->values.end());
}

void check_fits(const Normalization& normalization, int height, int width, int channels) {
  if (const MeanImage* image = normalization.mean_image.get()) {
    require<ConfigError>(image->height == height && image->width == width && image->channels == channels,
                         "normalize: the mean image is {}×{}×{}, but the network sees {}×{}×{}; mean_image: computed "
                         "makes one that fits",
                         image->height, image->width, image->channels, height, width, channels);
  }
  require<ConfigError>(normalization.mean.size() == static_cast<size_t>(channels) &&
                           normalization.std.size() == normalization.mean.size(),
                       "normalize: expected {} means and deviations, found {} and {}", channels,
                       normalization.mean.size(), normalization.std.size());
}

Normalization published_normalization(const std::string& dataset) {
  static const Normalization imagenet{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
  static const std::map<std::string, Normalization> published = {
      {"mnist", {{0.1307}, {0.3081}}},
      {"fashion_mnist", {{0.2860}, {0.3530}}},
      {"cifar10", {{0.4914, 0.4822, 0.4465}, {0.2470, 0.2435, 0.2616}}},
      {"cifar100", {{0.5071, 0.4867, 0.4408}, {0.2675, 0.2565, 0.2761}}},
      {"image_folder", imagenet},
      {"imagenet", imagenet},
      {"hdf5", imagenet},
      {"crops", imagenet},
      {"synthetic", {{0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}}},
  };
  const auto found = published.find(dataset);
  return found == published.end() ? Normalization{} : found->second;
}

Normalization with_channels(const Normalization& normalization, int channels) {
  const int measured = static_cast<int>(normalization.mean.size());
  if (measured == channels) return normalization;
  if (measured == 1) return {std::vector(channels, normalization.mean[0]), std::vector(channels, normalization.std[0])};
  require<ConfigError>(measured == 3 && channels == 1, "normalize: {} means do not fit images of {} channels", measured,
                       channels);
  const auto luminance_of = [](const std::vector<double>& rgb) {
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
  };
  return {{luminance_of(normalization.mean)}, {luminance_of(normalization.std)}};
}

Normalization compute_normalization(const Dataset& dataset, const PictureWalk& walk, int channels) {
  std::vector<Histogram> histograms(static_cast<size_t>(walk.parts()));
  walk_pictures(walk, [&](int64_t part, int64_t index, Image& image) {
    dataset.load(index, image);
    if (image.channels != channels) {
      Image converted;
      convert_channels(image, channels, converted);
      std::swap(image, converted);
    }
    count_levels(image, histograms[part]);
  });
  Normalization result;
  for (int c = 0; c < channels; ++c) {
    double count = 0, sum = 0;
    std::array<double, 256> levels{};
    for (int level = 0; level < 256; ++level) {
      for (const auto& histogram : histograms) levels[level] += static_cast<double>(histogram[c][level]);
      count += levels[level];
      sum += levels[level] * level;
    }
    const double mean = sum / count;
    double squares = 0;
    for (int level = 0; level < 256; ++level) squares += levels[level] * (level - mean) * (level - mean);
    const double deviation = std::sqrt(squares / count);
    require<ConfigError>(deviation > 0, "normalize: computed: channel {} is the same everywhere in {} training images",
                         c, walk.indices.size());
    result.mean.push_back(mean / 255.0);
    result.std.push_back(deviation / 255.0);
  }
  return result;
}

}  // namespace striate
