#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tools/experiments/metrics_table.h"

namespace striate {

/// A run's name, as the legend has it, and its metrics.csv.
using NamedMetrics = std::pair<std::string, MetricsTable>;

/// Any number of runs on one page: training and validation loss and accuracy over the epochs, below them a table that
/// is the legend too, with each run's best values and its median time an epoch as a bar. Curves are told apart by
/// colour, dashes and marker. Throws ShapeError for no run, Error for a table without the columns of a metrics.csv,
/// and what Figure::save() throws.
void draw_run_comparison(const std::vector<NamedMetrics>& runs, const std::string& title,
                         const std::filesystem::path& file);

/// Names for runs' folders, as short as they stay different: "runs/a/x" and "runs/b/x" are "a/x" and "b/x".
std::vector<std::string> distinct_names(const std::vector<std::filesystem::path>& folders);

}  // namespace striate
