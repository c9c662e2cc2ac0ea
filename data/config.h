#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/batch_mixer.h"
#include "data/normalization.h"
#include "data/transforms/transform.h"
#include "engine/config.h"

namespace striate {

enum class NormalizeBy { dataset, computed, imagenet, given, mean_image, none };

/// The section `data` of a configuration.
struct DataConfig {
  std::string dataset;
  std::string path;
  std::string class_names;    ///< a file, a name a line; empty: the dataset's own
  int height = 0, width = 0;  ///< 0: the model's
  int channels = 0;           ///< 1 or 3; 0: the dataset's
  double validation_fraction = 0.0;
  bool shuffle = true;
  int workers = 2;
  bool skip_broken = false;
  Pipeline train_transforms, test_transforms;  ///< empty: a resize to the image size where it is needed
  MixOptions mix;                              ///< of training batches: `mixup: 0.2`, `cutmix: 1.0`
  NormalizeBy normalize_by = NormalizeBy::dataset;
  Normalization given;     ///< where NormalizeBy::given; of NormalizeBy::mean_image the deviations
  std::string mean_image;  ///< `computed`, or a file that save_mean_image() wrote
  /// `synthetic: {train_images: 10000, test_images: 2000, seed: 0}`
  int64_t synthetic_train_images = 10000, synthetic_test_images = 2000;
  uint64_t synthetic_seed = 0;
  /// `crops: {scale: [1, 3], train_crops: 10000, test_crops: 2000, held_out: 0.2, largest_side: 1600}`, see
  /// CropsOptions
  std::pair<double, double> crops_scale{1.0, 3.0};
  int64_t crops_train = 10000, crops_test = 2000;
  double crops_held_out = 0.2;
  int crops_largest_side = 1600;
};

/// The datasets that this build can read.
const std::vector<std::string>& known_datasets();

/// Reads the section strictly. Throws ConfigError with file, line and key.
DataConfig read_data_config(ConfigReader data);

}  // namespace striate
