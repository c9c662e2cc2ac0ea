#include "tools/experiments/circular_variance_history.h"

#include <fmt/format.h>

#include <system_error>

#include "tools/experiments/metrics_table.h"

namespace striate {

std::vector<std::vector<std::optional<double>>> read_circular_variance(
    const std::filesystem::path& run, const std::vector<std::optional<double>>& epochs) {
  std::vector<std::vector<std::optional<double>>> kernels;
  for (size_t e = 0; e < epochs.size(); ++e) {
    const std::filesystem::path table =
        run / fmt::format("kernel_responses_{:02}", static_cast<int64_t>(epochs[e].value_or(-1.0))) / "tuning.csv";
    std::error_code error;
    if (!std::filesystem::exists(table, error)) continue;
    const auto values = MetricsTable::read(table).column("circular_variance");
    if (values.size() > kernels.size()) {
      kernels.resize(values.size(), std::vector<std::optional<double>>(epochs.size()));
    }
    for (size_t k = 0; k < values.size(); ++k) kernels[k][e] = values[k];
  }
  return kernels;
}

}  // namespace striate
