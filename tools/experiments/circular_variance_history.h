#pragma once

#include <filesystem>
#include <optional>
#include <vector>

namespace striate {

/// Circular variance, pooled as the course does, of every kernel at those epochs: [kernels][epochs], from the run's
/// kernel_responses_EE/tuning.csv. Absent where a kernel is not responsive or an epoch was not measured; empty where
/// none was. Throws IoError for a table that is broken.
std::vector<std::vector<std::optional<double>>> read_circular_variance(
    const std::filesystem::path& run, const std::vector<std::optional<double>>& epochs);

}  // namespace striate
