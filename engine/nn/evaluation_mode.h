#pragma once

#include <utility>
#include <vector>

#include "engine/nn/module.h"

namespace striate::nn {

/// A network in evaluation mode for the guard's lifetime. Every module gets its own mode back: a part that was frozen
/// stays so.
class EvaluationMode {
 public:
  explicit EvaluationMode(Module& model) {
    for (const NamedModule& m : model.named_modules()) before_.emplace_back(m.module, m.module->training());
    model.eval();
  }
  ~EvaluationMode() {
    // train() reaches everything below a module; parents come first.
    for (const auto& [module, training] : before_) module->train(training);
  }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> before_;
};

}  // namespace striate::nn
