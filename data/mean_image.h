#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/picture_walk.h"
#include "data/transforms/transform.h"
#include "kernels/image_batch/image_batch.h"

namespace striate {

/// The mean of pictures at every place: [height, width, channels] of pixels in [0, 1].
struct MeanImage {
  int height = 0, width = 0, channels = 0;
  std::vector<float> values;

  /// Per channel, over all places.
  std::vector<double> channel_means() const;
};

/// Of some pictures of a dataset, each as `transforms` make it, which must be [height, width, channels]. Exact whatever
/// the number of threads: levels are summed as integers.
MeanImage compute_mean_image(const Dataset& dataset, const PictureWalk& walk, const Pipeline& transforms,
                             const MeanImage& size, uint64_t seed);

/// A safetensors file that holds it as `mean_image`. Both throw IoError that names the file.
void save_mean_image(const std::string& file, const MeanImage& image);
MeanImage load_mean_image(const std::string& file);

/// Pictures as a network sees them that a mean image is subtracted from: (pixel/255 − mean at that place)/std.
class MeanImageSubtraction {
 public:
  /// `std` per channel.
  MeanImageSubtraction(const MeanImage& image, const std::vector<double>& std);
  /// A picture of its size, or several one below the other (TenCrop's); `out` has room for as many values.
  void apply(const Image& image, float* out) const;
  /// The same for kernels/image_batch: sets factors and offsets, which stay this one's.
  void describe(PixelScaling& scaling) const;

 private:
  int height_, channels_;
  std::vector<float> scale_;  // of a row's levels
  std::vector<float> shift_;  // of the whole picture
};

}  // namespace striate
