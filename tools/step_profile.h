#pragma once

#include <cstdint>
#include <filesystem>

#include "engine/train/train_options.h"
#include "tools/experiment.h"

namespace striate {

/// Trains `steps` steps after two that are not counted, prints where their time went, kernel by kernel, and writes
/// their timeline to the file `trace` (chrome_trace.h). With several ranks all train, and rank 0 tells of its own time.
/// Returns the tool's exit code.
int profile_steps(Experiment& experiment, const TrainOptions& options, int64_t steps,
                  const std::filesystem::path& trace, const Ranks& ranks = {});

}  // namespace striate
