#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/optim/optimizer.h"

namespace striate {

class ConfigReader;

/// `train.optimizer`. Keys that another optimizer uses are read and have no effect, so that a sweep can vary the name
/// alone.
struct OptimizerConfig {
  std::string name = "sgd";        ///< sgd adam adamw rmsprop
  double momentum = 0.9;           ///< sgd; rmsprop, where it is 0 unless given
  double weight_decay = 0.0;       ///< PyTorch's: added to the gradient; decoupled for adamw
  bool nesterov = false;           ///< sgd
  std::string update = "pytorch";  ///< sgd: pytorch | paper (Krizhevsky et al. 2012, §5)
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double alpha = 0.99;  ///< rmsprop

  /// Throws ConfigError, with file and line, for an unknown key or a value out of range.
  static OptimizerConfig parse(ConfigReader reader);
};

/// Throws ConfigError for an unknown name.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, std::vector<NamedTensor> parameters,
                                          double learning_rate);

}  // namespace striate
