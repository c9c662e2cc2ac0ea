#include "tools/experiments/metrics_table.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>

#include "kernels/error.h"

namespace striate {
namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  size_t begin = 0;
  for (size_t comma; (comma = line.find(',', begin)) != std::string::npos; begin = comma + 1) {
    cells.push_back(line.substr(begin, comma - begin));
  }
  cells.push_back(line.substr(begin));
  return cells;
}

}  // namespace

MetricsTable MetricsTable::read(const std::filesystem::path& csv) {
  std::ifstream in(csv);
  require<IoError>(in.is_open(), "{}: no such file; it is written by train into its run's folder", csv.string());
  MetricsTable table;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const std::vector<std::string> cells = split(line);
    if (number == 1) {
      table.columns = cells;
      continue;
    }
    require<IoError>(cells.size() == table.columns.size(), "{}:{}: expected {} columns, found {}", csv.string(), number,
                     table.columns.size(), cells.size());
    auto& row = table.rows.emplace_back();
    for (const std::string& cell : cells) {
      double value = 0.0;
      const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
      require<IoError>(cell.empty() || (error == std::errc() && end == cell.data() + cell.size()),
                       "{}:{}: '{}' is not a number", csv.string(), number, cell);
      row.push_back(cell.empty() ? std::nullopt : std::optional(value));
    }
  }
  return table;
}

std::vector<std::optional<double>> MetricsTable::column(const std::string& name) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  require<Error>(found != columns.end(), "metrics.csv: no column '{}'", name);
  std::vector<std::optional<double>> values;
  for (const auto& row : rows) values.push_back(row[static_cast<size_t>(found - columns.begin())]);
  return values;
}

}  // namespace striate
