#include "data/open.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "data/broken_image.h"
#include "data/datasets/cifar.h"
#include "data/datasets/crops.h"
#include "data/datasets/file_bytes.h"
#include "data/datasets/hdf5/hdf5.h"
#include "data/datasets/image_folder.h"
#include "data/datasets/imagenet/imagenet.h"
#include "data/datasets/memory_dataset.h"
#include "data/datasets/mnist.h"
#include "data/datasets/packed/packed.h"
#include "data/datasets/synthetic.h"
#include "data/load_transformed.h"
#include "data/sampler.h"
#include "data/test_view.h"
#include "data/transforms/channels.h"
#include "data/transforms/crop.h"
#include "data/transforms/resize.h"
#include "data/transforms/settle.h"
#include "kernels/error.h"

namespace striate {
namespace {

struct Size {
  int height = 0, width = 0;
  bool operator==(const Size&) const = default;
};

/// Pictures that are drawn or cut out have the size that is wanted, `size` where nobody says.
Size wanted_size(const DataConfig& config, const OpenOptions& options, Size size) {
  if (config.height > 0) return {config.height, config.width};
  if (options.model_height > 0) return {options.model_height, options.model_width};
  return size;
}

DatasetParts open_crops(const DataConfig& config, const OpenOptions& options) {
  CropsOptions crops;
  const Size size = wanted_size(config, options, {crops.height, crops.width});
  crops.height = size.height;
  crops.width = size.width;
  std::tie(crops.scale_min, crops.scale_max) = config.crops_scale;
  crops.train_crops = config.crops_train;
  crops.test_crops = config.crops_test;
  crops.held_out = config.crops_held_out;
  crops.largest_side = config.crops_largest_side;
  crops.seed = options.seed;
  crops.threads = config.workers;
  crops.skip_broken = config.skip_broken;
  crops.on_broken = options.on_broken;
  return open_crops(config.path, crops);
}

/// One black picture of a dataset whose sizes are known without its files; nothing for the others.
DatasetParts blank_parts(const std::string& dataset) {
  struct Known {
    const char* dataset;
    int side, channels;
    size_t classes;
  };
  static constexpr Known kKnown[] = {
      {"mnist", 28, 1, 10}, {"fashion_mnist", 28, 1, 10}, {"cifar10", 32, 3, 10}, {"cifar100", 32, 3, 100}};
  for (const Known& known : kKnown) {
    if (dataset != known.dataset) continue;
    PictureBlock block{known.side, known.side, known.channels, {}, {0}, dataset};
    block.pixels.resize(static_cast<size_t>(known.side) * known.side * known.channels);
    return {std::make_shared<MemoryDataset>(std::move(block), std::vector<std::string>(known.classes)), nullptr};
  }
  return {};
}

/// The size of a set's first readable picture after its transforms.
Size probe(const SampleSet& set, uint64_t seed, bool skip_broken) {
  Image image;
  TransformScratch scratch;
  for (size_t i = 0;; ++i) {
    const int64_t sample = set.indices[i];
    try {
      load_transformed(*set.dataset, sample, set.transforms, seed, 0, image, scratch);
    } catch (const IoError& error) {
      if (!skip_broken) throw broken_image(error);
      if (i + 1 == set.indices.size()) throw;
      continue;
    }
    return {image.height, image.width};
  }
}

/// What the pictures of a set go through: first the channels, then what the configuration lists.
Pipeline with_channels_first(const Dataset& dataset, int channels, const Pipeline& listed) {
  Pipeline pipeline;
  if (dataset.channels() != channels) pipeline.add(std::make_shared<ConvertChannels>(channels));
  pipeline.add(listed);
  return pipeline;
}

/// The image size by the rules of open_data(): configuration, transforms, model, the pictures' own.
Size choose_size(const DataConfig& config, const OpenOptions& options, const SampleSet& train,
                 const std::optional<SampleSet>& evaluated) {
  if (config.height > 0) return {config.height, config.width};
  if (!config.train_transforms.empty()) return probe(train, options.seed, config.skip_broken);
  if (!config.test_transforms.empty() && evaluated) return probe(*evaluated, options.seed, config.skip_broken);
  if (options.model_height > 0) return {options.model_height, options.model_width};
  return probe(train, options.seed, config.skip_broken);
}

/// Adds the resize of transforms that are not given, and checks that given ones end at the wanted size.
void fit_size(SampleSet& set, const Pipeline& listed, const char* key, Size wanted, const DataConfig& config,
              uint64_t seed) {
  if (listed.empty()) set.transforms.add(std::make_shared<Resize>(wanted.height, wanted.width));
  const Size found = probe(set, seed, config.skip_broken);
  require<ConfigError>(found == wanted,
                       "data.{}: they make an image of {}×{}, but {}×{} is wanted; change them or data.image_size", key,
                       found.height, found.width, wanted.height, wanted.width);
}

/// A pass that measures the training images.
PictureWalk walk_over(const SampleSet& train, const char* purpose, const DataConfig& config,
                      const OpenOptions& options) {
  return {train.indices, config.workers, config.skip_broken, purpose, options.on_notice};
}

Normalization choose_normalization(const DataConfig& config, const OpenOptions& options, const SampleSet& train,
                                   const SampleSet& plain, const MeanImage& size) {
  const int channels = size.channels;
  if (const auto known = known_normalization(config, channels)) return *known;
  if (config.normalize_by == NormalizeBy::mean_image) {
    const PictureWalk walk = walk_over(train, "data.normalize: mean image", config, options);
    return with_mean_image(config, channels,
                           compute_mean_image(*plain.dataset, walk, plain.transforms, size, options.seed));
  }
  return compute_normalization(*train.dataset, walk_over(train, "data.normalize", config, options), channels);
}

std::vector<int64_t> all_indices(const Dataset& dataset) {
  std::vector<int64_t> indices(static_cast<size_t>(dataset.size()));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

Data split_and_fit(const DatasetParts& parts, const DataConfig& config, const OpenOptions& options) {
  Data data;
  data.class_names = config.class_names.empty() ? parts.train->class_names()
                                                : read_class_names(config.class_names, parts.train->classes());
  data.channels = config.channels > 0 ? config.channels : parts.train->channels();

  auto split = split_validation(parts.train->size(), config.validation_fraction, options.seed);
  const auto train_pipeline = with_channels_first(*parts.train, data.channels, config.train_transforms);
  const auto test_pipeline = with_channels_first(*parts.train, data.channels, config.test_transforms);
  SampleSet train{parts.train, std::move(split.train), train_pipeline};
  std::optional<SampleSet> held_out, test, unlabelled;
  if (!split.validation.empty()) held_out = SampleSet{parts.train, std::move(split.validation), test_pipeline};
  if (!held_out && parts.validation != nullptr) {
    held_out = SampleSet{parts.validation, all_indices(*parts.validation), test_pipeline};
  }
  if (parts.test != nullptr) test = SampleSet{parts.test, all_indices(*parts.test), test_pipeline};
  if (parts.unlabelled != nullptr) {
    unlabelled = SampleSet{parts.unlabelled, all_indices(*parts.unlabelled), test_pipeline};
  }

  const Size size = choose_size(config, options, train, held_out ? held_out : test);
  data.height = size.height;
  data.width = size.width;
  fit_size(train, config.train_transforms, "train_transforms", size, config, options.seed);
  for (auto* set : {&held_out, &test, &unlabelled}) {
    if (*set) fit_size(**set, config.test_transforms, "test_transforms", size, config, options.seed);
  }
  // The training images as an evaluation sees them.
  SampleSet plain{train.dataset, train.indices, test_pipeline};
  fit_size(plain, config.test_transforms, "test_transforms", size, config, options.seed);
  data.test_transforms = plain.transforms;

  data.normalization =
      choose_normalization(config, options, train, plain, {data.height, data.width, data.channels, {}});
  check_fits(data.normalization, data.height, data.width, data.channels);
  if (wants_color_components(train.transforms) || wants_color_components(data.test_transforms)) {
    data.color_components = compute_color_components(*train.dataset, walk_over(train, "pca_color", config, options));
  }
  const auto settle = [&](Pipeline& transforms) {
    transforms = settled(transforms, data.normalization.mean, data.color_components);
  };
  settle(train.transforms);
  settle(data.test_transforms);
  for (auto* set : {&held_out, &test, &unlabelled}) {
    if (*set) settle((*set)->transforms);
  }
  data.loader_options = {.batch_size = options.batch_size,
                         .height = data.height,
                         .width = data.width,
                         .channels = data.channels,
                         .workers = config.workers,
                         .shuffle = false,
                         .skip_broken = config.skip_broken,
                         .seed = options.seed,
                         .device = options.device,
                         .dtype = options.dtype,
                         .part = options.part,
                         .parts = options.parts,
                         .on_broken = options.on_broken};
  LoaderOptions train_options = data.loader_options;
  train_options.shuffle = config.shuffle;
  train_options.mix = config.mix;
  train_options.keeps_device_memory = true;  // for a step that is captured with its input
  train_options.may_reduce = true;           // what is evaluated is seen as other programs see it
  data.train = std::make_unique<Loader>(std::move(train), data.normalization, std::move(train_options));
  const auto loader = [&](std::optional<SampleSet>& set) {
    return set ? std::make_unique<Loader>(std::move(*set), data.normalization, data.loader_options) : nullptr;
  };
  if (!held_out) std::swap(held_out, test);
  data.val = loader(held_out);
  data.test = loader(test);
  data.unlabelled = loader(unlabelled);
  return data;
}

}  // namespace

DatasetParts open_parts(const DataConfig& config, const OpenOptions& options) {
  if (config.dataset == "mnist") return open_mnist(config.path);
  if (config.dataset == "fashion_mnist") return open_fashion_mnist(config.path);
  if (config.dataset == "cifar10") return open_cifar10(config.path);
  if (config.dataset == "cifar100") return open_cifar100(config.path);
  if (config.dataset == "image_folder") return open_image_folder(config.path);
  if (config.dataset == "hdf5") return open_hdf5(config.path, config.class_names);
  if (config.dataset == "imagenet") {
    return open_imagenet(config.path, [&](const std::string& text) {
      if (options.on_notice) options.on_notice(text);
    });
  }
  if (config.dataset == "packed") return open_packed(config.path);
  if (config.dataset == "crops") return open_crops(config, options);
  require<ConfigError>(config.dataset == "synthetic", "data.dataset: nothing can open '{}'", config.dataset);
  SyntheticOptions synthetic;
  const Size size = wanted_size(config, options, {synthetic.height, synthetic.width});
  synthetic.height = size.height;
  synthetic.width = size.width;
  synthetic.channels = config.channels > 0 ? config.channels : 3;
  synthetic.train_images = config.synthetic_train_images;
  synthetic.test_images = config.synthetic_test_images;
  synthetic.seed = config.synthetic_seed;
  return open_synthetic(synthetic);
}

Data open_data(DatasetParts parts, DataConfig config, const OpenOptions& options) {
  const bool trains = parts.train != nullptr;
  if (!trains) {
    const bool measured = config.normalize_by == NormalizeBy::computed ||
                          (config.normalize_by == NormalizeBy::mean_image && config.mean_image == "computed");
    require<ConfigError>(!measured,
                         "data.normalize: computed needs the training part, which is not in {}; give {{mean: [...], "
                         "std: [...]}}",
                         config.path);
    parts.train = parts.test;
    config.train_transforms = config.test_transforms;
    config.validation_fraction = 0.0;
  }
  Data data = split_and_fit(parts, config, options);
  if (!trains) data.train.reset();
  return data;
}

Data open_data(const DataConfig& config, const OpenOptions& options) {
  return open_data(open_parts(config, options), config, options);
}

std::optional<DataSizes> data_sizes(DataConfig config, const OpenOptions& options) {
  config.normalize_by = NormalizeBy::none;
  for (Pipeline* transforms : {&config.train_transforms, &config.test_transforms}) {
    *transforms = settled(*transforms, {}, ColorComponents{});  // measures nothing
  }
  DatasetParts parts;
  try {
    parts = open_parts(config, options);
  } catch (const Error&) {
    parts = blank_parts(config.dataset);
    if (parts.train == nullptr) return std::nullopt;
    config.class_names.clear();
    config.validation_fraction = 0.0;
  }
  const Data data = open_data(std::move(parts), config, options);
  return DataSizes{data.height, data.width, data.channels, static_cast<int64_t>(data.class_names.size())};
}

const Loader& Data::split_loader(const std::string& split) const {
  require<ConfigError>(split == "train" || split == "val" || split == "test" || split == "unlabelled",
                       "split: expected train, val, test or unlabelled, found '{}'", split);
  const Loader* source = split == "train" ? train.get() : split == "val" ? val.get() : unlabelled.get();
  if (split == "test") source = test ? test.get() : unlabelled ? unlabelled.get() : val.get();
  std::string others;
  const std::pair<const char*, const Loader*> parts[] = {
      {"train", train.get()}, {"val", val.get()}, {"test", test.get()}, {"unlabelled", unlabelled.get()}};
  for (const auto& [name, loader] : parts) {
    if (loader != nullptr) others += (others.empty() ? "" : ", ") + std::string(name);
  }
  require<ConfigError>(source != nullptr, "split: the dataset has no {} part; it has {}{}", split, others,
                       val == nullptr && split != "unlabelled" ? " (data.validation_fraction makes a val part)" : "");
  return *source;
}

std::unique_ptr<Loader> Data::evaluation_loader(const std::string& split, int64_t batch_size) const {
  SampleSet set = split_loader(split).set();
  set.transforms = test_transforms;
  LoaderOptions options = loader_options;
  options.batch_size = batch_size;
  return std::make_unique<Loader>(std::move(set), normalization, std::move(options));
}

std::unique_ptr<Loader> Data::ten_crop_loader(const std::string& split, int64_t batch_size) const {
  SampleSet set = split_loader(split).set();
  const Transform* last = test_transforms.empty() ? nullptr : &test_transforms.last();
  require<ConfigError>(dynamic_cast<const CenterCrop*>(last) != nullptr,
                       "ten crops: the test transforms do not end with a centre crop, which they would replace; "
                       "--set 'data.test_transforms=[{{resize: {}}}, {{center_crop: [{}, {}]}}]' makes them",
                       std::lround(std::min(height, width) * 256.0 / 224.0), height, width);
  set.transforms = test_transforms.without_last();
  set.transforms.add(std::make_shared<TenCrop>(height, width));
  LoaderOptions options = loader_options;
  options.batch_size = batch_size;
  options.height = TenCrop::kCrops * height;
  return std::make_unique<Loader>(std::move(set), normalization, std::move(options));
}

bool Data::has_labels(const std::string& split) const {
  return unlabelled == nullptr || split_loader(split).set().dataset != unlabelled->set().dataset;
}

}  // namespace striate
