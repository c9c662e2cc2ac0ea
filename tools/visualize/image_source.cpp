#include "tools/visualize/image_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <utility>

#include "data/datasets/image_files.h"
#include "data/datasets/picture_files.h"
#include "data/pixel_normalizer.h"
#include "engine/random.h"
#include "kernels/error.h"
#include "models/weights/weights.h"

namespace striate::visualize {
namespace {

std::vector<std::filesystem::path> listed_files(const std::vector<std::string>& arguments) {
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (const std::string& argument : arguments) {
    require<IoError>(std::filesystem::exists(argument, ignored), "--images {}: there is no such file or folder",
                     argument);
    if (!std::filesystem::is_directory(argument, ignored)) {
      files.emplace_back(argument);
      continue;
    }
    const std::vector<std::string> found = picture_files(argument);
    require<IoError>(!found.empty(), "--images {}: no pictures (jpg, png, bmp, ppm) in the folder", argument);
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

}  // namespace

void ImageFlags::add_to(CommandLine& command_line, bool files) {
  common.add_to(command_line);
  network.add_to(command_line);
  command_line.option("--split", split, "PART", "Part of the dataset: train, val or test (default test)")
      .option("--seed", seed, "N", "Of the choice of pictures (default: the configuration's)");
  if (files)
    command_line.list("--images", images, "F...", "Picture files or folders instead of the dataset's pictures");
}

ImageSource::ImageSource(const ImageFlags& flags) {
  require<ConfigError>(flags.split == "train" || flags.split == "val" || flags.split == "test",
                       "--split {}: expected train, val or test", flags.split);
  const bool files = !flags.images.empty();
  network_ = flags.network.resolve(flags.common, files ? NetworkFlags::Data::not_needed : NetworkFlags::Data::needed);
  seed_ = flags.seed >= 0 ? static_cast<uint64_t>(flags.seed) : network_.config.seed;
  if (files) {
    open_files(flags);
  } else {
    open_split(flags);
  }
  model_->eval();
}

void ImageSource::open_split(const ImageFlags& flags) {
  experiment_ = std::make_unique<Experiment>(network_.config);
  if (!network_.weights.empty())
    models::load_weights(network_.weights.string(), experiment_->model(), experiment_->input());
  model_ = &experiment_->model();
  class_names_ = experiment_->class_names();
  split_ = flags.split;
  set_ = experiment_->part(flags.split).set();
  const Data& data = experiment_->data();
  normalization_ = data.normalization;
  loader_options_ = data.loader_options;
  channels_ = data.channels;
  title_ = fmt::format("{}, {} part", experiment_->title(), flags.split);
}

void ImageSource::open_files(const ImageFlags& flags) {
  std::vector<std::filesystem::path> files = listed_files(flags.images);
  standalone_ = open_network(network_, "");
  if (!standalone_.notice.empty()) fmt::print("{}\n", standalone_.notice);
  model_ = standalone_.model.get();
  class_names_ = standalone_.class_names;
  const TestView& view = standalone_.view;
  set_.dataset = std::make_shared<const ImageFiles>(files, view);
  set_.indices.resize(files.size());
  std::iota(set_.indices.begin(), set_.indices.end(), int64_t{0});
  normalization_ = view.normalization;
  loader_options_ = {.batch_size = network_.config.train.batch_size,
                     .height = view.height,
                     .width = view.width,
                     .channels = view.channels,
                     .workers = network_.config.data.workers};
  channels_ = view.channels;
  title_ = network_.config.model_name();
}

void ImageSource::require_labels() const {
  require<ConfigError>(labelled(),
                       "--split {}: its images have no labels, so that nobody knows which are wrong; "
                       "--split val has them",
                       split_);
}

std::string ImageSource::weights_text() const {
  if (network_.weights.empty()) return "freshly initialised weights";
  const std::string file = network_.weights.filename().string();
  return network_.run ? fmt::format("{} of {}", file, network_.run->path().filename().string()) : file;
}

std::vector<int64_t> ImageSource::drawn(int64_t count) const {
  std::vector<int64_t> order = set_.indices;
  if (experiment_ == nullptr) return order;
  // The first `count` of a seeded shuffle.
  Random random(seed_, RandomPurpose::figure, 4);
  for (size_t i = 0; i < order.size() && static_cast<int64_t>(i) < count; ++i) {
    std::swap(order[i], order[i + random.below(order.size() - i)]);
  }
  return order;
}

Selection ImageSource::choose(int64_t count) const {
  Selection selection;
  TransformScratch scratch;
  // Where broken pictures are passed over any one may be needed.
  const bool skip = network_.config.data.skip_broken;
  for (const int64_t index : drawn(skip ? images() : count)) {
    if (static_cast<int64_t>(selection.pictures.size()) == count) break;
    Image image;
    try {
      set_.dataset->load(index, image);
    } catch (const IoError& error) {
      if (!skip) throw;
      fmt::print(stderr, "visualize: {}\n", error.what());
      continue;
    }
    set_.transforms.apply(image, network_.config.seed, 0, index, scratch);
    selection.pictures.push_back(std::move(image));
    selection.labels.push_back(labelled() ? set_.dataset->label(index) : -1);
    selection.names.push_back(experiment_ != nullptr
                                  ? fmt::format("{} {}", split_, index)
                                  : std::filesystem::path(set_.dataset->describe(index)).filename().string());
  }
  require<IoError>(!selection.pictures.empty(), "{}: none of the pictures can be read", title_);
  selection.input = normalised(selection.pictures, normalization_);
  return selection;
}

Loader& ImageSource::loader(int64_t count) {
  SampleSet set = set_;
  if (count > 0 && count < images()) {
    set.indices = drawn(count);
    set.indices.resize(static_cast<size_t>(count));
  }
  loader_ = std::make_unique<Loader>(std::move(set), normalization_, loader_options_);
  return *loader_;
}

Image ImageSource::picture(int64_t place) const {
  const int64_t index = loader_->set().indices[static_cast<size_t>(place)];
  Image image;
  TransformScratch scratch;
  set_.dataset->load(index, image);
  set_.transforms.apply(image, network_.config.seed, 0, index, scratch);
  return image;
}

Tensor normalised(const std::vector<Image>& pictures, const Normalization& normalization) {
  const Image& first = pictures.front();
  const PixelNormalizer normalizer(normalization);
  Tensor input = Tensor::empty({static_cast<int64_t>(pictures.size()), first.height, first.width, first.channels});
  float* to = input.data<float>();
  for (const Image& image : pictures) {
    require<ShapeError>(image.height == first.height && image.width == first.width && image.channels == first.channels,
                        "pictures of {}x{}x{} and {}x{}x{} cannot be shown to a network together", first.height,
                        first.width, first.channels, image.height, image.width, image.channels);
    normalizer.apply(image, false, to);
    to += image.pixels.size();
  }
  return input;
}

}  // namespace striate::visualize
