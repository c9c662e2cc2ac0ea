#include "engine/optim/optimizer_config.h"

#include "engine/config.h"
#include "kernels/error.h"

namespace striate {

namespace {
const std::vector<std::string> kOptimizers = {"sgd", "adam", "adamw", "rmsprop"};

void check_range(const ConfigReader& reader, const char* key, double value, bool valid, const char* expected) {
  require<ConfigError>(valid, "{}: {}, expected {}", reader.where(key), value, expected);
}
}  // namespace

OptimizerConfig OptimizerConfig::parse(ConfigReader reader) {
  OptimizerConfig c;
  c.name = reader.choice("name", c.name, kOptimizers);
  c.momentum = reader.get("momentum", c.name == "rmsprop" ? 0.0 : c.momentum);
  c.weight_decay = reader.get("weight_decay", c.weight_decay);
  c.nesterov = reader.get("nesterov", c.nesterov);
  c.update = reader.choice("update", c.update, {"pytorch", "paper"});
  const std::vector<double> betas = reader.get_numbers("betas", {c.beta1, c.beta2});
  require<ConfigError>(betas.size() == 2, "{}: {} numbers, expected two, [0.9, 0.999]", reader.where("betas"),
                       betas.size());
  c.beta1 = betas[0];
  c.beta2 = betas[1];
  c.eps = reader.get("eps", c.eps);
  c.alpha = reader.get("alpha", c.alpha);
  reader.finish();

  check_range(reader, "momentum", c.momentum, c.momentum >= 0 && c.momentum < 1, "0 or more and below 1");
  check_range(reader, "weight_decay", c.weight_decay, c.weight_decay >= 0, "0 or more");
  for (double beta : betas) check_range(reader, "betas", beta, beta >= 0 && beta < 1, "0 or more and below 1");
  check_range(reader, "eps", c.eps, c.eps > 0, "a number above 0");
  check_range(reader, "alpha", c.alpha, c.alpha >= 0 && c.alpha < 1, "0 or more and below 1");
  require<ConfigError>(c.name != "sgd" || !c.nesterov || (c.momentum > 0 && c.update == "pytorch"),
                       "{}: Nesterov needs momentum above 0 and PyTorch's update", reader.where("nesterov"));
  return c;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, std::vector<NamedTensor> parameters,
                                          double learning_rate) {
  const auto as_float = [](double value) { return static_cast<float>(value); };
  if (config.name == "sgd") {
    const SgdOptions options{as_float(config.momentum), config.nesterov, config.update == "paper"};
    return std::make_unique<Sgd>(std::move(parameters), learning_rate, options, config.weight_decay);
  }
  if (config.name == "adam" || config.name == "adamw") {
    const AdamOptions options{as_float(config.beta1), as_float(config.beta2), as_float(config.eps),
                              config.name == "adamw"};
    return std::make_unique<Adam>(std::move(parameters), learning_rate, options, config.weight_decay);
  }
  if (config.name == "rmsprop") {
    const RmspropOptions options{as_float(config.alpha), as_float(config.eps), as_float(config.momentum)};
    return std::make_unique<Rmsprop>(std::move(parameters), learning_rate, options, config.weight_decay);
  }
  throw ConfigError(fmt::format("no optimizer '{}'; there are {}", config.name, fmt::join(kOptimizers, ", ")));
}

}  // namespace striate
