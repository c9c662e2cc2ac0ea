#include "tools/network_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/config.h"
#include "kernels/error.h"
#include "models/registry.h"

namespace striate {
namespace {

struct InputSize {
  int64_t height = 0, width = 0, channels = 0;
};

InputSize parse_input(const std::string& text) {
  InputSize size;
  char comma1 = 0, comma2 = 0, rest = 0;
  std::istringstream in(text);
  const bool three = static_cast<bool>(in >> size.height >> comma1 >> size.width >> comma2 >> size.channels) &&
                     comma1 == ',' && comma2 == ',' && !(in >> rest);
  require<ConfigError>(three && size.height > 0 && size.width > 0 && (size.channels == 1 || size.channels == 3),
                       "--input {}: expected H,W,C like 224,224,3, with 1 or 3 channels", text);
  return size;
}

/// What a network for ImageNet was tested with: the shorter side to 256/224 of the input, the middle, ImageNet's mean.
void add_imagenet_transforms(const InputSize& size, ConfigReader& data, std::vector<std::string>& overrides) {
  if (!data.has("test_transforms")) {
    const int64_t shorter = std::lround(static_cast<double>(std::min(size.height, size.width)) * 256.0 / 224.0);
    overrides.push_back(fmt::format("data.test_transforms=[{{resize: {}}}, {{center_crop: [{}, {}]}}]", shorter,
                                    size.height, size.width));
  }
  if (!data.has("normalize")) overrides.push_back("data.normalize=imagenet");
}

}  // namespace

NetworkSizes NetworkSource::sizes() const {
  const int64_t channels = config.model.in_channels > 0 ? config.model.in_channels : config.data.channels;
  const bool settled = config.data.height > 0 && channels > 0 && config.model.num_classes > 0;
  const bool ask = has_dataset && !settled;
  if (ask) {
    if (const auto found = data_sizes(config.data, config.open_options())) {
      return {{found->height, found->width, found->channels}, found->classes};
    }
  }
  NetworkSizes sizes;
  sizes.known = !ask;
  if (config.data.height > 0) {
    sizes.input = {config.data.height, config.data.width, channels > 0 ? channels : 3};
  } else if (channels > 0 && !config.model.name.empty()) {
    const Shape& own = models::model_info(config.model.name).input;
    sizes.input = {own[0], own[1], channels};
  }
  return sizes;
}

std::string NetworkSource::weights_description() const {
  return weights.empty() ? "freshly initialised weights" : fmt::format("weights of {}", weights.string());
}

void NetworkFlags::add_to(CommandLine& command_line) {
  command_line.option("--run", run, "DIR", "A run's network, with its best weights")
      .option("--checkpoint", checkpoint, "C", "Of the run: best (default), last, or a file")
      .option("--model", model, "NAME",
              "A network by its name: " + fmt::format("{}", fmt::join(models::model_names(), ", ")))
      .option("--weights", weights, "F", "Its weights (default: freshly initialised)")
      .option("--input", input, "H,W,C", "Its input, where it is not the model's own")
      .option("--classes", classes, "N", "Its classes, where they are not the model's own");
}

NetworkSource NetworkFlags::resolve(const CommonFlags& common, Data data) const {
  std::vector<std::string> overrides = common.overrides();
  NetworkSource source;
  if (!run.empty()) {
    require<ConfigError>(model.empty() && weights.empty() && common.config.empty() && input.empty() && classes == 0,
                         "--run names network, weights and configuration; --model, --weights, --config, --input and "
                         "--classes cannot be given with it");
    source.run = RunFolder::existing(run);
    source.weights = source.run->weights(checkpoint);
    source.config = RunConfig::load(source.run->config().string(), overrides);
    return source;
  }
  require<ConfigError>(checkpoint == "best", "--checkpoint {}: it is of a --run; --weights F names a file", checkpoint);
  require<ConfigError>(classes >= 0, "--classes {}: at least one is needed", classes);
  if (!model.empty()) overrides.push_back("model.name=" + model);
  if (classes > 0) overrides.push_back(fmt::format("model.num_classes={}", classes));
  ConfigReader reader = ConfigReader::load(common.config, overrides);
  ConfigReader section = reader.section("data"), network = reader.section("model");
  require<ConfigError>(network.has("name") || network.has("layers"),
                       "no network is named: --run DIR, --model NAME, or a configuration with model.name is needed "
                       "(--config F, --set model.name=NAME)");
  const std::string name = network.get("name", "");
  const models::ModelInfo* info = name.empty() ? nullptr : &models::model_info(name);
  source.has_dataset = section.has("dataset");
  // The strict reader wants a dataset's name even where no picture is read.
  if (data == Data::not_needed && !source.has_dataset) overrides.push_back("data.dataset=synthetic");
  require<ConfigError>(data == Data::not_needed || source.has_dataset,
                       "no dataset is named: --config F, or --set data.dataset=NAME and --set data.path=PATH");
  InputSize size;
  if (!input.empty()) {
    size = parse_input(input);
    overrides.push_back(fmt::format("data.image_size=[{}, {}]", size.height, size.width));
    overrides.push_back(fmt::format("data.channels={}", size.channels));
    overrides.push_back(fmt::format("model.in_channels={}", size.channels));
  } else if (info != nullptr) {
    size = {info->input[0], info->input[1], info->input[2]};
  }
  if (info != nullptr && info->imagenet && common.config.empty()) add_imagenet_transforms(size, section, overrides);
  source.config = RunConfig::load(common.config, overrides);
  source.weights = weights;
  return source;
}

}  // namespace striate
