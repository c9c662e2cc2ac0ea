#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/sweep_plan.h"

namespace striate {

enum class SweepStatus { waiting, interrupted, failed, finished };

/// A run's row in sweep.csv.
struct SweepRow {
  SweepRun run;
  SweepStatus status = SweepStatus::waiting;
};

/// A run's figures from its metrics.csv: of its best epoch the losses and accuracies, the test part's where it was
/// measured, the median rate of images, and all epochs' seconds. Absent where there is no such value.
struct SweepFigures {
  std::optional<double> best_epoch, train_loss, val_loss, val_top1, val_macro_f1, test_loss, test_top1,
      images_per_second, seconds;
};

/// `by` is "val_loss" or "val_top1"; without validation the last epoch counts as the best. Nothing where no epoch was
/// trained yet, or the file is missing or damaged.
std::optional<SweepFigures> sweep_figures(const std::filesystem::path& metrics, const std::string& by);

/// sweep.csv of a sweep's folder: `run,status,KEY,…,best_epoch,train_loss,val_loss,val_top1,val_macro_f1,test_loss,
/// test_top1,images_per_second,seconds`, a row a run, whole after every run. What runs have come to is read back from
/// it.
class SweepTable {
 public:
  /// Statuses of runs that the file names are taken over; a file that is none throws IoError.
  SweepTable(std::filesystem::path folder, const std::vector<SweepRun>& runs, std::string best_by);

  std::vector<SweepRow>& rows() { return rows_; }
  std::filesystem::path run_folder(const SweepRow& row) const { return folder_ / row.run.folder; }
  void write() const;
  std::filesystem::path csv() const { return folder_ / "sweep.csv"; }

 private:
  std::filesystem::path folder_;
  std::vector<SweepRow> rows_;
  std::string best_by_;
};

}  // namespace striate
