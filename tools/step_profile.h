#pragma once

#include <cstdint>
#include <filesystem>

#include "engine/train/train_options.h"
#include "tools/experiment.h"

namespace striate {

/// Trains `steps` steps after two that are not counted, prints where their time went, kernel by kernel, and writes
/// their timeline to the file `trace` (chrome_trace.h). Returns the tool's exit code.
int profile_steps(Experiment& experiment, const TrainOptions& options, int64_t steps,
                  const std::filesystem::path& trace);

}  // namespace striate
