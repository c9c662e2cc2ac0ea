#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/mean_image.h"
#include "data/picture_walk.h"

namespace striate {

/// Per channel, of pixels in [0, 1]: the network sees (pixel/255 − mean)/std.
struct Normalization {
  std::vector<double> mean, std;
  /// Where given, a mean for every place of the network's input takes the place of `mean`, which then holds its means
  /// per channel. Krizhevsky et al. (2012) subtract that of 256×256 pictures before they crop it together with the
  /// picture; here it has the size of the crop, and is the same wherever the crop lies.
  std::shared_ptr<const MeanImage> mean_image{};

  /// What becomes of each 8-bit level without a mean image: [channels, 256].
  std::vector<float> table() const;
  /// What is subtracted: a mean a channel, or the mean image's values [height, width, channels].
  std::vector<double> subtracted() const;
};

/// Throws ConfigError unless means, deviations and mean image are those of images [height, width, channels].
void check_fits(const Normalization& normalization, int height, int width, int channels);

/// Mean and deviation as published for mnist, fashion_mnist, cifar10, cifar100; ImageNet's for image_folder,
/// imagenet and hdf5; 0.5 and 0.25 for synthetic. Empty for a dataset without published ones.
Normalization published_normalization(const std::string& dataset);

/// For other channels than it was measured on: grey's is used for each of three; three become one by the weights of
/// luminance.
Normalization with_channels(const Normalization& normalization, int channels);

/// Measured over the pixels of some pictures of a dataset, converted to `channels` and not transformed. Exact whatever
/// the number of threads: levels are counted. Throws ConfigError if a channel is constant.
Normalization compute_normalization(const Dataset& dataset, const PictureWalk& walk, int channels);

}  // namespace striate
