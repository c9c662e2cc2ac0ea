#include "tools/experiment.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "kernels/error.h"
#include "models/one_weird_trick.h"
#include "models/registry.h"
#include "tools/run_folder.h"
#include "tools/ten_crop_network.h"

namespace striate {
namespace {

Data open(const RunConfig& config, const std::shared_ptr<std::function<void(const std::string&)>>& on_broken, int rank,
          int ranks) {
  OpenOptions options = config.open_options();
  if (rank > 0) options.on_notice = [](const std::string&) {};
  options.part = rank;
  options.parts = ranks;
  options.device = config.device;
  options.dtype = config.image_type();
  options.on_broken = [on_broken](const std::string& message) {
    if (*on_broken) (*on_broken)(message);
  };
  Data data = open_data(config.data, options);
  data.loader_options.part = 0;  // of what is read besides training
  data.loader_options.parts = 1;
  return data;
}

/// For a single-quoted YAML scalar.
std::string quoted(const std::string& text) {
  std::string doubled;
  for (const char c : text) doubled += c == '\'' ? "''" : std::string(1, c);
  return doubled;
}

}  // namespace

Experiment::Experiment(const RunConfig& config, int rank, int ranks)
    : config_(config), on_broken_(std::make_shared<std::function<void(const std::string&)>>()) {
  set_num_threads(static_cast<int>(config.threads));
  data_ = open(config, on_broken_, rank, ranks);
  input_ = models::resolve_input(config.model, {data_.height, data_.width, data_.channels});
  class_names_ = data_.class_names;
  classes_ = models::resolve_classes(config.model, static_cast<int64_t>(class_names_.size()));
  const auto found = static_cast<int64_t>(class_names_.size());
  // Of a network for all of ImageNet's classes, class 2 is not the third of those that are there.
  require<ConfigError>(config.data.dataset != "imagenet" || found == classes_,
                       "imagenet: {} holds {} classes, numbered from 0 on, but the network tells {} apart: its outputs "
                       "would be taken for others'; it needs the folders of all its classes",
                       config.data.path, found, classes_);
  for (int64_t c = found; c < classes_; ++c) {
    class_names_.push_back(fmt::format("class {}", c));
  }
  build_again();
  set_precision(config.device, config.train.precision);
}

void Experiment::build_again() {
  model_ = network_ = models::build_model(config_.model, input_, classes_, config_.seed);
  model_->to(config_.device);
}

void Experiment::divide(const Ranks& ranks) {
  const DistributedOptions& options = config_.train.distributed;
  if (several(ranks) && options.scheme == Scheme::one_weird_trick) {
    model_ = std::make_shared<models::OneWeirdTrick>(network_, ranks, options);
  }
}

TrainData Experiment::train_data() {
  require<ConfigError>(data_.train != nullptr,
                       "{}: there is no training part in {}, so nothing can be trained; evaluate measures a network on "
                       "the validation part",
                       config_.data.dataset, config_.data.path);
  require<ConfigError>(!config_.data.mix.any() || config_.train.batch_size > 1,
                       "data.mixup, data.cutmix: a picture is mixed with its neighbour in the batch, and "
                       "train.batch_size is {}; raise it, or set them to 0",
                       config_.train.batch_size);
  return {data_.train.get(), data_.val.get(), data_.test.get()};
}

Loader& Experiment::part(const std::string& split) {
  part_ = data_.evaluation_loader(split, config_.train.batch_size);
  return *part_;
}

BatchSource& Experiment::ten_crops(const std::string& split) {
  part_ = data_.ten_crop_loader(split, std::max<int64_t>(1, config_.train.batch_size / TenCropNetwork::kCrops));
  return *part_;
}

nn::Module& Experiment::ten_crop_model() {
  if (ten_crop_model_ == nullptr) ten_crop_model_ = std::make_shared<TenCropNetwork>(model_);
  return *ten_crop_model_;
}

std::string Experiment::title() const { return fmt::format("{} on {}", config_.model_name(), config_.data.dataset); }

std::string Experiment::description() const {
  return fmt::format("{}, {} classes of {}x{}x{} images, {} thread{}", title(), classes_, data_.height, data_.width,
                     data_.channels, num_threads(), num_threads() == 1 ? "" : "s");
}

std::vector<std::string> Experiment::settled() const {
  std::vector<std::string> settled = {fmt::format("model.num_classes={}", classes_),
                                      fmt::format("model.in_channels={}", data_.channels),
                                      fmt::format("data.channels={}", data_.channels),
                                      fmt::format("data.image_size=[{}, {}]", data_.height, data_.width)};
  settled.push_back("model.init=" + nn::to_string(models::resolve_init(config_.model)));
  if (!config_.model.name.empty()) {
    const auto own = models::model_info(config_.model.name).dropout_place;
    const auto place = config_.model.dropout_place ? config_.model.dropout_place : own;
    settled.push_back("model.dropout_place=" + (place ? to_string(*place) : "~"));
  }
  // A run is evaluated and resumed from other folders too.
  for (const auto& [key, path] :
       {std::pair{"data.path", config_.data.path}, std::pair{"data.class_names", config_.data.class_names},
        std::pair{"train.submission", config_.train.submission}}) {
    if (path.empty()) continue;
    settled.push_back(fmt::format("{}='{}'", key, quoted(std::filesystem::absolute(path).lexically_normal().string())));
  }
  // A network is used where the images that its numbers were measured on, or the packed file that holds them, are not.
  if (config_.data.normalize_by == NormalizeBy::computed ||
      (config_.data.normalize_by == NormalizeBy::dataset && config_.data.dataset == "packed")) {
    settled.push_back(fmt::format("data.normalize={{mean: [{}], std: [{}]}}", fmt::join(data_.normalization.mean, ", "),
                                  fmt::join(data_.normalization.std, ", ")));
  }
  if (data_.normalization.mean_image != nullptr) {
    settled.push_back(fmt::format("data.normalize={{mean_image: {}, std: [{}]}}", RunFolder::kMeanImage,
                                  fmt::join(data_.normalization.std, ", ")));
  }
  if (data_.color_components) {
    for (const std::string& measured : config_.with_color_components(*data_.color_components)) {
      settled.push_back(measured);
    }
  }
  return settled;
}

std::string Experiment::resolved_config() const {
  return fmt::format("# {}, device {}\n{}", description(), to_string(config_.device), resolved().text);
}

std::string Experiment::fixed_by_resume() const { return resolved().fixed_by_resume(); }

int64_t Experiment::broken() const {
  int64_t count = 0;
  for (const Loader* loader : {data_.train.get(), data_.val.get(), data_.test.get(), part_.get()}) {
    if (loader != nullptr) count += loader->broken();
  }
  return count;
}

}  // namespace striate
