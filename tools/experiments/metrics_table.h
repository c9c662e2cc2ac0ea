#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace striate {

/// A run's metrics.csv as it lies: named columns of numbers, empty cells where nothing was measured.
struct MetricsTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<double>>> rows;

  /// Throws IoError where the file is missing, or a row is not one (naming the line).
  static MetricsTable read(const std::filesystem::path& csv);

  /// Values of a column, a row each. Throws Error for a name that is not there.
  std::vector<std::optional<double>> column(const std::string& name) const;
};

}  // namespace striate
