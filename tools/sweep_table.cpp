#include "tools/sweep_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <utility>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "tools/experiments/csv_cell.h"
#include "tools/experiments/metrics_table.h"

namespace striate {
namespace {

constexpr std::array<const char*, 4> kStatuses = {"waiting", "interrupted", "failed", "finished"};

std::string number_cell(const std::optional<double>& value) { return value ? fmt::format("{:.9g}", *value) : ""; }

std::optional<double> median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2.0;
}

}  // namespace

std::optional<SweepFigures> sweep_figures(const std::filesystem::path& metrics, const std::string& by) {
  MetricsTable table;
  try {
    table = MetricsTable::read(metrics);
    if (table.rows.size() < 2) return std::nullopt;  // row 0 is the network before training
    const auto epoch = table.column("epoch"), train_loss = table.column("train_loss"), judged = table.column(by);
    size_t best = table.rows.size() - 1;
    const double sign = by == "val_top1" ? -1.0 : 1.0;
    for (size_t i = table.rows.size() - 1; i >= 1; --i) {
      // Going backwards with ≤: of equals the first, as the trainer keeps it.
      if (judged[i] && (!judged[best] || sign * *judged[i] <= sign * *judged[best])) best = i;
    }
    std::vector<double> rates;
    double seconds = 0.0;
    const auto rate = table.column("images_per_second"), time = table.column("seconds");
    for (size_t i = 0; i < table.rows.size(); ++i) {
      if (i > 0 && rate[i]) rates.push_back(*rate[i]);
      seconds += time[i].value_or(0.0);
    }
    const size_t last = table.rows.size() - 1;
    return SweepFigures{epoch[best],
                        train_loss[best],
                        table.column("val_loss")[best],
                        table.column("val_top1")[best],
                        table.column("val_macro_f1")[best],
                        table.column("test_loss")[last],
                        table.column("test_top1")[last],
                        median(rates),
                        seconds};
  } catch (const Error&) {
    return std::nullopt;
  }
}

SweepTable::SweepTable(std::filesystem::path folder, const std::vector<SweepRun>& runs, std::string best_by)
    : folder_(std::move(folder)), best_by_(std::move(best_by)) {
  for (const SweepRun& run : runs) rows_.push_back({run});
  std::ifstream in(csv());
  std::string line;
  for (int number = 0; std::getline(in, line); ++number) {
    if (number == 0) {
      require<IoError>(line.starts_with("run,status,"), "{}: this is no sweep's table; name another folder",
                       csv().string());
      continue;
    }
    const size_t first = line.find(','), second = line.find(',', first + 1);
    if (second == std::string::npos) continue;
    const std::string name = line.substr(0, first), status = line.substr(first + 1, second - first - 1);
    for (SweepRow& row : rows_) {
      const auto known = std::find(kStatuses.begin(), kStatuses.end(), status);
      if (row.run.folder == name && known != kStatuses.end()) {
        row.status = static_cast<SweepStatus>(known - kStatuses.begin());
      }
    }
  }
}

void SweepTable::write() const {
  std::string text = "run,status";
  for (const auto& [key, value] : rows_.front().run.settings) text += fmt::format(",{}", csv_cell(key));
  text += ",best_epoch,train_loss,val_loss,val_top1,val_macro_f1,test_loss,test_top1,images_per_second,seconds\n";
  for (const SweepRow& row : rows_) {
    text += fmt::format("{},{}", row.run.folder, kStatuses[static_cast<size_t>(row.status)]);
    for (const auto& [key, value] : row.run.settings) text += fmt::format(",{}", csv_cell(value));
    const SweepFigures f = sweep_figures(run_folder(row) / "metrics.csv", best_by_).value_or(SweepFigures{});
    for (const auto& value : {f.best_epoch, f.train_loss, f.val_loss, f.val_top1, f.val_macro_f1, f.test_loss,
                              f.test_top1, f.images_per_second, f.seconds}) {
      text += fmt::format(",{}", number_cell(value));
    }
    text += "\n";
  }
  write_file_atomically(csv().string(), text);
}

}  // namespace striate
