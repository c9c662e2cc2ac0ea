#include "tools/run_config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>
#include <utility>

#include "engine/config.h"
#include "kernels/error.h"
#include "models/registry.h"

namespace striate {
namespace {

AnalysisOptions read_analysis(ConfigReader analysis) {
  AnalysisOptions options;
  options.kernels = analysis.get("kernels", options.kernels);
  options.tuning = analysis.get("tuning", options.tuning);
  analysis.finish();
  return options;
}

/// A mean image's file, or `computed`. A run's lies beside its configuration, wherever the folder is moved to.
std::string beside(const std::string& config_file, const std::string& mean_image) {
  std::error_code ignored;
  if (mean_image.empty() || mean_image == "computed" || config_file.empty()) return mean_image;
  const auto path = std::filesystem::path(config_file).parent_path() / mean_image;
  const bool is_elsewhere = !std::filesystem::exists(path, ignored) && std::filesystem::exists(mean_image, ignored);
  return is_elsewhere ? mean_image : path.string();
}

std::string in_one_line(const YAML::Node& node) {
  YAML::Emitter value;
  value.SetMapFormat(YAML::Flow);
  value.SetSeqFormat(YAML::Flow);
  value << node;
  std::string line = value.c_str();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

void add_settings(const YAML::Node& node, const std::string& key,
                  std::vector<std::pair<std::string, std::string>>& settings) {
  if (!node.IsMap() || node.size() == 0) {
    settings.emplace_back(key, in_one_line(node));
    return;
  }
  for (const auto& item : node) {
    add_settings(item.second, fmt::format("{}{}{}", key, key.empty() ? "" : ".", item.first.Scalar()), settings);
  }
}

}  // namespace

RunConfig RunConfig::load(const std::string& file, const std::vector<std::string>& overrides) {
  ConfigReader reader = ConfigReader::load(file, overrides);
  RunConfig config;
  config.file = file;
  config.overrides = overrides;
  const int64_t seed = reader.get("seed", 0);
  require<ConfigError>(seed >= 0, "{}: expected 0 or more, found {}", reader.where("seed"), seed);
  config.seed = static_cast<uint64_t>(seed);
  const std::string device = reader.get("device", "auto");
  try {
    config.device = parse_device(device);
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", reader.where("device"), error.what()));
  }
  config.threads = reader.get("threads", 0);
  require<ConfigError>(config.threads >= 0 && config.threads <= 1024, "{}: expected 0 (all cores) to 1024, found {}",
                       reader.where("threads"), config.threads);
  config.model = models::ModelConfig::parse(reader.section("model"));
  config.data = read_data_config(reader.section("data"));
  config.data.mean_image = beside(file, config.data.mean_image);
  ConfigReader train = reader.section("train");
  const std::string precision = train.where("precision");
  config.train = TrainOptions::parse(std::move(train));
  try {
    check_precision(config.device, config.train.precision);
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", precision, error.what()));
  }
  config.model.check_kernels(config.device, config.train.precision);
  config.analysis = read_analysis(reader.section("analysis"));
  config.train.distributed = DistributedOptions::parse(reader.section("distributed"));
  reader.finish();
  config.text = reader.completed_text();
  return config;
}

std::string RunConfig::model_name() const { return model.name.empty() ? "layers" : model.name; }

OpenOptions RunConfig::open_options() const {
  OpenOptions options;
  options.seed = seed;
  options.batch_size = train.batch_size;
  options.on_notice = [](const std::string& line) { std::fputs((line + "\n").c_str(), stderr); };
  if (!model.name.empty()) {
    const Shape& input = models::model_info(model.name).input;
    options.model_height = static_cast<int>(input[0]);
    options.model_width = static_cast<int>(input[1]);
  }
  return options;
}

DType RunConfig::image_type() const {
  return device == Device::cuda && train.precision == Precision::bf16 ? DType::bfloat16 : DType::float32;
}

RunConfig RunConfig::with(const std::vector<std::string>& more) const {
  std::vector<std::string> all = overrides;
  all.insert(all.end(), more.begin(), more.end());
  return load(file, all);
}

std::vector<std::string> RunConfig::with_color_components(const ColorComponents& components) const {
  YAML::Node values, vectors;
  for (const double value : components.values) values.push_back(fmt::format("{}", value));
  for (const auto& row : components.vectors) {
    for (const double entry : row) vectors.push_back(fmt::format("{}", entry));
  }
  std::vector<std::string> more;
  ConfigReader section = ConfigReader::parse(text).section("data");
  for (const char* key : {"train_transforms", "test_transforms"}) {
    YAML::Node transforms = YAML::Clone(section.node(key));
    bool is_measured = false;
    for (YAML::Node item : transforms) {
      YAML::Node pca = item.IsMap() ? item["pca_color"] : YAML::Node();
      if (!pca.IsMap() || !pca["eigenvalues"].IsScalar()) continue;
      pca["eigenvalues"] = values;
      pca["eigenvectors"] = vectors;
      is_measured = true;
    }
    if (is_measured) more.push_back(fmt::format("data.{}={}", key, in_one_line(transforms)));
  }
  return more;
}

std::string RunConfig::fixed_by_resume() const {
  ConfigReader reader = ConfigReader::parse(text);
  const std::set<std::string> free = {"data.path",        "data.class_names", "data.workers",
                                      "data.skip_broken", "model.conv",       "model.linear"};
  std::string lines;
  for (const char* name : {"model", "data"}) {
    ConfigReader section = reader.section(name);
    for (const std::string& key : section.keys()) {
      const std::string dotted = fmt::format("{}.{}", name, key);
      const YAML::Node node = section.node(key);
      if (!node.IsDefined() || free.count(dotted) > 0) continue;
      lines += fmt::format("{}={}\n", dotted, in_one_line(node));
    }
  }
  return lines;
}

std::vector<std::pair<std::string, std::string>> RunConfig::settings() const {
  std::vector<std::pair<std::string, std::string>> settings;
  add_settings(YAML::Load(text), "", settings);
  return settings;
}

}  // namespace striate
