#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/step_limit.h"
#include "engine/train/append_file.h"
#include "models/summary.h"
#include "tools/run_config.h"

namespace striate::bench {

struct ThroughputRow {
  std::string model, device, mode, precision;
  int64_t threads = 0, batch = 0;
  double images_per_second = 0.0, step_ms = 0.0;
  int64_t peak_memory_bytes = 0;           ///< of the process on the host, what tensors took of a GPU
  std::optional<double> percent_of_limit;  ///< absent where the limit is not known
};

nlohmann::ordered_json to_json(const ThroughputRow& row);

/// The table as it grows: on standard output and in a CSV file, a line a batch size.
class ThroughputTable {
 public:
  /// `csv` may be empty.
  explicit ThroughputTable(const std::string& csv);

  /// Prints what is measured and on what.
  void begin(const std::string& title, const RunConfig& config, const std::optional<MachineLimit>& limit);
  /// Why a batch size is not tried, of what it would take at least; empty where it may fit.
  std::string too_large(const models::ModelSummary& summary, bool train) const;
  /// Says why no larger batch was measured: its size, and the reason.
  void stop(int64_t batch, const std::string& reason);
  /// The row that a process has left in `file`, which is removed. False, and stop(), where it ran out of memory.
  bool add(const std::filesystem::path& file, const models::ModelSummary& summary, bool train);
  /// Writes the files that are named.
  void finish(const std::string& json, const std::string& plot) const;

  static std::filesystem::path temporary_file();

 private:
  void draw(const std::string& file) const;

  std::unique_ptr<AppendFile> csv_;
  int64_t largest_fitting() const;

  std::string title_, stopped_;
  int64_t stopped_at_ = 0;
  Device device_ = Device::cpu;
  Shape input_;
  std::optional<MachineLimit> limit_;
  std::vector<ThroughputRow> rows_;
};

}  // namespace striate::bench
