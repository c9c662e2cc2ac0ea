#pragma once

#include <filesystem>

#include "engine/train/train_options.h"
#include "tools/experiment.h"

namespace striate {

/// `train --find-lr`: searches a learning rate with the experiment's network, prints the suggestion and leaves
/// learning_rate_finder.csv and .png in a folder that exists; no run. Returns the tool's exit code. The network is of
/// no use afterwards.
int search_rate(Experiment& experiment, const TrainOptions& options, const std::filesystem::path& folder);

}  // namespace striate
