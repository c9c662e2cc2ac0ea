#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/test_view.h"
#include "engine/nn/module.h"
#include "tools/network_flags.h"

namespace striate {

/// A network by itself, for pictures that belong to no dataset: on its device, with its weights (or fresh ones) and in
/// evaluation mode.
struct StandaloneNetwork {
  std::shared_ptr<nn::Module> model;
  int64_t classes = 0;
  TestView view;
  std::vector<std::string> class_names;
  std::string notice;  ///< what the user should know of a guess; empty where there was none
};

/// Opens what the command line names. Classes are called as `labels` says (a file, see read_labels), else as the run,
/// the configuration or its dataset does, else, with weights for a network of ImageNet's 1000, by their names, else
/// "class 0", "class 1", …. Of the dataset's files none is needed but where
/// the configuration leaves sizes or a normalization to them.
StandaloneNetwork open_network(const NetworkSource& source, const std::string& labels);

}  // namespace striate
