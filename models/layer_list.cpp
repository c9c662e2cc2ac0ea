#include "models/layer_list.h"

#include <fmt/ranges.h>

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "engine/config.h"
#include "kernels/error.h"
#include "models/model_config.h"

namespace striate::models {
namespace {

struct Size {
  int64_t h = 0, w = 0;
};

// A number or [h, w], each at least `least`. A fallback below `least`: the key must be given.
Size read_size(ConfigReader& reader, const std::string& key, const Size& fallback, int64_t least) {
  const std::vector<double> numbers =
      reader.get_numbers(key, {static_cast<double>(fallback.h), static_cast<double>(fallback.w)});
  require<ConfigError>(reader.has(key) || fallback.h >= least, "{} must be given", reader.where(key));
  require<ConfigError>(numbers.size() == 1 || numbers.size() == 2, "{}: expected a number or [h, w], found {} numbers",
                       reader.where(key), numbers.size());
  for (const double number : numbers) {
    const bool is_size = number >= static_cast<double>(least) && number <= 1e6 &&
                         number == static_cast<double>(static_cast<int64_t>(number));
    require<ConfigError>(is_size, "{}: expected a whole number of at least {}, found {}", reader.where(key), least,
                         number);
  }
  return {static_cast<int64_t>(numbers.front()), static_cast<int64_t>(numbers.back())};
}

int64_t read_count(ConfigReader& reader, const std::string& key, int64_t fallback) {
  const int64_t value = reader.get(key, fallback);
  require<ConfigError>(value > 0 || (!reader.has(key) && fallback > 0), "{}: expected a positive number, found {}",
                       reader.where(key), reader.has(key) ? fmt::format("{}", value) : "nothing");
  return value;
}

Layer read_conv(ConfigReader& options) {
  ConvLayer layer;
  layer.channels = read_count(options, "channels", 0);
  const Size kernel = read_size(options, "kernel", {}, 1);
  const Size stride = read_size(options, "stride", {1, 1}, 1);
  const Size padding = read_size(options, "padding", {0, 0}, 0);
  const Size dilation = read_size(options, "dilation", {1, 1}, 1);
  layer.kernel_h = kernel.h;
  layer.kernel_w = kernel.w;
  layer.geometry = {stride.h, stride.w, padding.h, padding.w, dilation.h, dilation.w, read_count(options, "groups", 1)};
  layer.bias = options.get("bias", true);
  return layer;
}

Layer read_linear(ConfigReader& options) {
  LinearLayer layer;
  if (options.has("features")) layer.features = read_count(options, "features", 0);
  layer.bias = options.get("bias", true);
  return layer;
}

ops::Pool2dOptions read_pool(ConfigReader& options) {
  const Size window = read_size(options, "kernel", {}, 1);
  const Size stride = read_size(options, "stride", window, 1);
  const Size padding = read_size(options, "padding", {0, 0}, 0);
  return {window.h, window.w, stride.h, stride.w, padding.h, padding.w};
}

Layer read_adaptive_pool(ConfigReader& options) {
  const Size size = read_size(options, "size", {1, 1}, 1);
  return AdaptiveAvgPoolLayer{size.h, size.w};
}

Layer read_dropout(ConfigReader& options, float fallback) {
  const double p = options.get("p", static_cast<double>(fallback));
  require<ConfigError>(p >= 0.0 && p < 1.0, "{}: expected a probability in [0, 1), found {}", options.where("p"), p);
  return DropoutLayer{static_cast<float>(p)};
}

Layer read_batch_norm(ConfigReader& options) {
  const double momentum = options.get("momentum", 0.1), epsilon = options.get("epsilon", 1e-5);
  require<ConfigError>(momentum > 0.0 && momentum <= 1.0, "{}: expected a number in (0, 1], found {}",
                       options.where("momentum"), momentum);
  require<ConfigError>(epsilon > 0.0, "{}: expected a positive number, found {}", options.where("epsilon"), epsilon);
  return BatchNormLayer{static_cast<float>(momentum), static_cast<float>(epsilon)};
}

Layer read_local_response_norm(ConfigReader& options) {
  const ops::LocalResponseNormOptions defaults;
  LocalResponseNormLayer layer;
  layer.options.size = read_count(options, "size", defaults.size);
  layer.options.k = static_cast<float>(options.get("k", static_cast<double>(defaults.k)));
  layer.options.alpha = static_cast<float>(options.get("alpha", 1e-4));
  layer.options.beta = static_cast<float>(options.get("beta", static_cast<double>(defaults.beta)));
  layer.options.divide_alpha = options.get("divide_alpha", defaults.divide_alpha);
  return layer;
}

/// How a type is read, and the option that its short form `type: value` sets.
struct LayerType {
  std::string short_option;
  std::function<Layer(ConfigReader&)> read;
};

std::map<std::string, LayerType> layer_types(float dropout) {
  std::map<std::string, LayerType> types = {
      {"conv", {"", read_conv}},
      {"linear", {"features", read_linear}},
      {"max_pool", {"kernel", [](ConfigReader& options) { return MaxPoolLayer{read_pool(options)}; }}},
      {"avg_pool", {"kernel", [](ConfigReader& options) { return AvgPoolLayer{read_pool(options)}; }}},
      {"adaptive_avg_pool", {"size", read_adaptive_pool}},
      {"dropout", {"p", [dropout](ConfigReader& options) { return read_dropout(options, dropout); }}},
      {"batch_norm", {"", read_batch_norm}},
      {"local_response_norm", {"", read_local_response_norm}},
      {"flatten", {"", [](ConfigReader&) { return FlattenLayer{}; }}},
  };
  for (const char* name : {"relu", "leaky_relu", "gelu", "silu"}) {
    types[name] = {"", [name](ConfigReader&) { return ActivationLayer{parse_activation(name)}; }};
  }
  return types;
}

Layer read_layer(ConfigReader& item, const std::map<std::string, LayerType>& types) {
  const std::vector<std::string> keys = item.keys();
  require<ConfigError>(keys.size() == 1, "{}: expected one layer, found {}", item.where(""),
                       keys.empty() ? "none" : fmt::format("{}", fmt::join(keys, ", ")));
  const std::string& type = keys.front();
  const auto found = types.find(type);
  if (found == types.end()) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : types) names.push_back(name);
    const std::string near = nearest(type, names);
    throw ConfigError(fmt::format("{}: unknown layer{}; there are {}", item.where(type),
                                  near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                  fmt::join(names, ", ")));
  }
  const bool is_short = item.has(type) && !item.is_map(type) && !found->second.short_option.empty();
  ConfigReader options = is_short ? item.short_form(type, found->second.short_option) : item.section(type);
  const Layer layer = found->second.read(options);
  options.finish();
  return layer;
}

}  // namespace

LayerList parse_layer_list(std::vector<ConfigReader> items, float dropout) {
  const std::map<std::string, LayerType> types = layer_types(dropout);
  LayerList layers;
  for (ConfigReader& item : items) layers.push_back({std::to_string(layers.size()), read_layer(item, types)});
  return layers;
}

}  // namespace striate::models
