#include "tools/standalone_network.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "data/datasets/file_bytes.h"
#include "data/imagenet_classes.h"
#include "data/open.h"
#include "engine/autograd.h"
#include "engine/device.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "models/weights/weights.h"
#include "tools/class_labels.h"

namespace striate {
namespace {

/// The dataset, where its files are there.
std::optional<Data> opened(const NetworkSource& source) {
  if (!source.has_dataset) return std::nullopt;
  try {
    return open_data(source.config.data, source.config.open_options());
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Whether the classes are those of ImageNet, in whose order networks from elsewhere have them.
bool are_imagenets(const NetworkSource& source, int64_t classes) {
  const std::string& model = source.config.model.name;
  return !source.weights.empty() && !model.empty() && models::model_info(model).imagenet &&
         classes == static_cast<int64_t>(imagenet_classes().size());
}

std::vector<std::string> class_names(const NetworkSource& source, int64_t classes) {
  std::error_code ignored;
  if (source.run && std::filesystem::exists(source.run->class_names(), ignored)) {
    return read_class_names(source.run->class_names(), static_cast<int>(classes));
  }
  std::vector<std::string> names;
  if (!source.config.data.class_names.empty()) {
    names = read_class_names(source.config.data.class_names, 0);
  } else if (const auto data = opened(source)) {
    names = data->class_names;
  }
  if (static_cast<int64_t>(names.size()) > classes) names.clear();  // of another dataset
  if (names.empty() && are_imagenets(source, classes)) {
    for (const ImagenetClass& known : imagenet_classes()) names.emplace_back(known.name);
  }
  for (auto c = static_cast<int64_t>(names.size()); c < classes; ++c) names.push_back(fmt::format("class {}", c));
  return names;
}

TestView view_of(const NetworkSource& source, const Shape& input) {
  DataConfig config = source.config.data;
  const bool is_measured = config.normalize_by == NormalizeBy::computed ||
                           (config.normalize_by == NormalizeBy::mean_image && config.mean_image == "computed");
  if (is_measured) {
    const Data data = open_data(config, source.config.open_options());
    config.normalize_by = NormalizeBy::given;
    config.given = data.normalization;
  }
  return test_view(config, static_cast<int>(input[0]), static_cast<int>(input[1]), static_cast<int>(input[2]));
}

}  // namespace

StandaloneNetwork open_network(const NetworkSource& source, const std::string& labels) {
  const RunConfig& config = source.config;
  set_num_threads(static_cast<int>(config.threads));
  const NetworkSizes sizes = source.sizes();
  const Shape input = models::resolve_input(config.model, sizes.input);
  StandaloneNetwork network;
  network.model = source.weights.empty() ? models::build_model(config.model, input, sizes.classes, config.seed)
                                         : models::make_model(config.model, input, sizes.classes);
  if (!source.weights.empty()) models::load_weights(source.weights.string(), *network.model, input);
  network.model->to(config.device);
  network.model->eval();
  set_precision(config.device, config.train.precision);
  network.view = view_of(source, input);
  const NoGradGuard no_grad;
  const Tensor probe = Tensor::zeros({1, input[0], input[1], input[2]}, DType::float32, config.device);
  network.classes = (*network.model)(probe).dim(1);
  network.class_names = labels.empty() ? class_names(source, network.classes) : read_labels(labels, network.classes);
  if (!source.has_dataset && config.data.normalize_by == NormalizeBy::dataset) {
    network.notice = fmt::format(
        "No dataset is named: pixels are normalised by mean {:.4g} and deviation {:.4g}; --set data.dataset=NAME or "
        "data.normalize=… says what the weights were trained with.",
        network.view.normalization.mean[0], network.view.normalization.std[0]);
  }
  return network;
}

}  // namespace striate
