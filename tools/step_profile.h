#pragma once

#include <cstdint>

#include "engine/train/train_options.h"
#include "tools/experiment.h"

namespace striate {

/// Trains `steps` steps after two that are not counted and prints where their time went, kernel by kernel. Writes no
/// file. Returns the tool's exit code.
int profile_steps(Experiment& experiment, const TrainOptions& options, int64_t steps);

}  // namespace striate
