#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/color_components.h"
#include "data/config.h"
#include "data/loader.h"

namespace striate {

struct OpenOptions {
  uint64_t seed = 0;
  int64_t batch_size = 128;
  Device device = Device::cpu;   ///< where batches are wanted: LoaderOptions
  DType dtype = DType::float32;  ///< of their images
  int64_t part = 0, parts = 1;   ///< what every loader delivers of its batches: LoaderOptions
  /// The model's own image size, used where the configuration has neither an image size nor transforms; 0: none, the
  /// dataset's pictures stay as they are.
  int model_height = 0, model_width = 0;
  /// Told about each broken picture that `skip_broken` leaves out.
  std::function<void(const std::string&)> on_broken{};
  /// Told what the user should know of how the dataset is opened: that it takes its time, or that a part is left out.
  std::function<void(const std::string&)> on_notice{};
};

/// An opened dataset. `train` is shuffled and augmented. With a validation fraction, `val` is that part of the training
/// images and `test` the dataset's test part, without one `val` is the test part and `test` is null. Each is null
/// where the dataset has none, as `train` is where only ImageNet's validation pictures are there, as `unlabelled`
/// nearly always is: its labels are all kUnlabelled.
struct Data {
  std::vector<std::string> class_names;
  int height = 0, width = 0, channels = 0;  ///< of what the network sees
  Normalization normalization;
  /// Measured where a transform has `pca_color: {eigenvalues: computed}`.
  std::optional<ColorComponents> color_components{};
  std::unique_ptr<Loader> train, val, test, unlabelled;

  /// A loader in order and without augmentation over a split: "train", "val", "test" or "unlabelled". Where the dataset
  /// has no test part beside the validation part, "test" means the unlabelled part, or else the validation part. Throws
  /// ConfigError for other names and for a split that the dataset does not have.
  std::unique_ptr<Loader> evaluation_loader(const std::string& split, int64_t batch_size) const;
  /// The same with ten crops of each picture, one below the other (TenCrop): images [N, 10·height, width, channels].
  /// Throws ConfigError unless the test transforms end with a centre crop.
  std::unique_ptr<Loader> ten_crop_loader(const std::string& split, int64_t batch_size) const;
  bool has_labels(const std::string& split) const;

  Pipeline test_transforms;
  LoaderOptions loader_options;

 private:
  const Loader& split_loader(const std::string& split) const;
};

/// Opens the dataset, splits it and works out the image size: that of the configuration, else what its transforms give,
/// else the model's, else the pictures' own. Transforms that are not given become a resize where one is needed. No
/// thread starts before a loader does. Throws IoError for missing or broken files, ConfigError for contradictions
/// (transforms that give another size, class names that do not fit).
Data open_data(const DataConfig& config, const OpenOptions& options);

/// The two steps of it: the parts as the dataset has them, and what a configuration makes of them. Where there is no
/// training part, sizes and classes are those of the test part.
DatasetParts open_parts(const DataConfig& config, const OpenOptions& options);
Data open_data(DatasetParts parts, DataConfig config, const OpenOptions& options);

/// What open_data() settles for the network.
struct DataSizes {
  int height = 0, width = 0, channels = 0;
  int64_t classes = 0;
};
/// The sizes that open_data() would give, normalization left aside; where the files are missing or broken, what is
/// known of mnist, fashion_mnist, cifar10 and cifar100, and nothing for other datasets. Throws as open_data() does for
/// transforms and sizes that contradict each other.
std::optional<DataSizes> data_sizes(DataConfig config, const OpenOptions& options);

}  // namespace striate
