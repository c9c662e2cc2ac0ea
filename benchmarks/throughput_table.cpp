#include "benchmarks/throughput_table.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "tools/experiments/figure.h"
#include "tools/machine.h"

namespace striate::bench {
namespace {

constexpr const char* kColumns =
    "model,device,mode,precision,threads,batch,images_per_second,step_ms,peak_memory_bytes,percent_of_limit\n";

std::string csv_line(const ThroughputRow& row) {
  return fmt::format("{},{},{},{},{},{},{:.4g},{:.6g},{},{}\n", row.model, row.device, row.mode, row.precision,
                     row.threads, row.batch, row.images_per_second, row.step_ms, row.peak_memory_bytes,
                     row.percent_of_limit ? fmt::format("{:.1f}", *row.percent_of_limit) : "");
}

/// What the system could still give, in bytes; nothing where it does not say.
std::optional<double> available_bytes() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("MemAvailable:")) return std::stod(line.substr(13)) * 1024.0;
  }
  return std::nullopt;
}

}  // namespace

nlohmann::ordered_json to_json(const ThroughputRow& row) {
  nlohmann::ordered_json json = {{"model", row.model},
                                 {"device", row.device},
                                 {"mode", row.mode},
                                 {"precision", row.precision},
                                 {"threads", row.threads},
                                 {"batch", row.batch},
                                 {"images_per_second", row.images_per_second},
                                 {"step_ms", row.step_ms},
                                 {"peak_memory_bytes", row.peak_memory_bytes},
                                 {"percent_of_limit", nullptr}};
  if (row.percent_of_limit) json["percent_of_limit"] = *row.percent_of_limit;
  return json;
}

ThroughputTable::ThroughputTable(const std::string& csv) {
  if (!csv.empty()) csv_ = std::make_unique<AppendFile>(csv, AppendFile::Open::replace);
}

void ThroughputTable::stop(int64_t batch, const std::string& reason) {
  fmt::print("batch {}: {}\n", batch, reason);
  std::fflush(stdout);
  stopped_at_ = batch;
  stopped_ = reason;
}

int64_t ThroughputTable::largest_fitting() const {
  int64_t largest = 0;
  for (const ThroughputRow& row : rows_) largest = std::max(largest, row.batch);
  return largest;
}

void ThroughputTable::begin(const std::string& title, const RunConfig& config,
                            const std::optional<MachineLimit>& limit) {
  title_ = fmt::format("{}, {} on {}", title, to_string(config.train.precision), to_string(config.device));
  device_ = config.device;
  limit_ = limit;
  if (csv_) csv_->append(provenance_comment(device_) + kColumns);
  fmt::print("{}\n", title_);
  for (const auto& [name, value] : provenance(device_)) fmt::print("{}: {}\n", name, value);
  fmt::print("{} threads\n", num_threads());
  if (limit_) {
    fmt::print("limit: {:.0f} GFLOP/s of multiply-adds, {:.0f} GB/s of memory copied (measured just now)\n",
               limit_->flops / 1e9, limit_->bytes / 1e9);
  }
  fmt::print("\n{:>7}  {:>10}  {:>10}  {:>10}  {:>10}\n", "batch", "images/s", "ms a step", "memory", "% of limit");
  std::fflush(stdout);
}

std::string ThroughputTable::too_large(const models::ModelSummary& summary, bool train) const {
  if (!on_host(device_)) return "";
  double bytes = static_cast<double>(summary.training_bytes);
  if (!train) {
    const int64_t pixels = summary.batch * summary.input[0] * summary.input[1] * summary.input[2];
    bytes = 4.0 * static_cast<double>(summary.parameters + pixels);
  }
  const std::optional<double> available = available_bytes();
  if (!available || bytes < *available) return "";
  return fmt::format("takes {:.1f} GB at least, and {:.1f} GB are free", bytes / 1e9, *available / 1e9);
}

bool ThroughputTable::add(const std::filesystem::path& file, const models::ModelSummary& summary, bool train) {
  ThroughputRow row;
  {
    std::ifstream in(file);
    const nlohmann::json json = nlohmann::json::parse(in);
    if (json.contains("out_of_memory")) {
      in.close();
      std::filesystem::remove(file);
      stop(summary.batch, json["out_of_memory"]);
      return false;
    }
    row.model = json.at("model");
    row.device = json.at("device");
    row.mode = json.at("mode");
    row.precision = json.at("precision");
    row.threads = json.at("threads");
    row.batch = json.at("batch");
    row.images_per_second = json.at("images_per_second");
    row.step_ms = json.at("step_ms");
    row.peak_memory_bytes = json.at("peak_memory_bytes");
  }
  std::filesystem::remove(file);
  if (limit_) row.percent_of_limit = step_limit_seconds(summary, row.batch, train, *limit_) * 1e5 / row.step_ms;
  fmt::print("{:>7}  {:>10.1f}  {:>10.2f}  {:>7.2f} GB  {:>10}\n", row.batch, row.images_per_second, row.step_ms,
             static_cast<double>(row.peak_memory_bytes) / 1e9,
             row.percent_of_limit ? fmt::format("{:.0f}%", *row.percent_of_limit) : "-");
  std::fflush(stdout);
  if (csv_) csv_->append(csv_line(row));
  rows_.push_back(std::move(row));
  return true;
}

void ThroughputTable::finish(const std::string& json, const std::string& plot) const {
  if (stopped_at_ > 0 && !rows_.empty()) fmt::print("The largest batch that fits: {}\n", largest_fitting());
  if (!json.empty()) {
    nlohmann::ordered_json document = {{"title", title_}, {"provenance", nullptr}, {"limit", nullptr}};
    for (const auto& [name, value] : provenance(device_)) document["provenance"][name] = value;
    if (limit_) document["limit"] = {{"flops_per_second", limit_->flops}, {"bytes_per_second", limit_->bytes}};
    document["largest_batch_that_fits"] = nullptr;  // where nothing stopped it
    document["stopped"] = nullptr;
    if (stopped_at_ > 0) {
      document["largest_batch_that_fits"] = largest_fitting();
      document["stopped"] = {{"batch", stopped_at_}, {"reason", stopped_}};
    }
    document["rows"] = nlohmann::ordered_json::array();
    for (const ThroughputRow& row : rows_) document["rows"].push_back(to_json(row));
    write_file_atomically(json, document.dump(2) + "\n");
  }
  if (!plot.empty() && !rows_.empty()) draw(plot);
}

void ThroughputTable::draw(const std::string& file) const {
  std::vector<std::vector<std::optional<double>>> points;
  std::string tics;
  double highest = 0.0;
  for (const ThroughputRow& row : rows_) {
    std::optional<double> limit;
    if (row.percent_of_limit) limit = row.images_per_second * 100.0 / *row.percent_of_limit;
    points.push_back({static_cast<double>(row.batch), row.images_per_second, limit});
    highest = std::max({highest, row.images_per_second, limit.value_or(0.0)});
    tics += fmt::format("{}\"{}\" {}", tics.empty() ? "" : ", ", row.batch, row.batch);
  }
  Figure figure(1400, 960);
  figure.data("rows", points)
      .line("set title " + plain_text(title_))
      .line("set xlabel 'Images a batch'")
      .line("set ylabel 'Images a second'")
      .line("set logscale x 2")
      .line("set xtics (" + tics + ")" + (rows_.size() > 10 ? " font ',17'" : ""))
      .line(fmt::format("set yrange [0:{:.6g}]", highest * 1.12))
      .line("set bmargin at screen 0.29")
      .line("set key at screen 0.5, screen 0.1 center")
      .line("set label " + plain_text(provenance_line(device_)) +
            fmt::format(" at screen 0.5, screen 0.025 center font ',13' textcolor rgb '{}'", colour::kMuted));
  const double first = static_cast<double>(rows_.front().batch), last = static_cast<double>(rows_.back().batch);
  const double margin = std::sqrt(2.0);
  figure.line(fmt::format("set xrange [{:.6g}:{:.6g}]", first / margin, last * margin));
  std::string plot = fmt::format(
      "plot $rows using 1:2 with linespoints linewidth 3 pointtype 7 pointsize 2 "
      "linecolor rgb '{}' title 'measured'",
      colour::kBlue);
  if (limit_) {
    plot += fmt::format(
        ", $rows using 1:3 with lines linewidth 2 dashtype 2 linecolor rgb '{}' title "
        "'what arithmetic and memory allow, without Winograd'",
        colour::kMuted);
  }
  figure.line(plot).save(file);
}

std::filesystem::path ThroughputTable::temporary_file() {
  return std::filesystem::temp_directory_path() / fmt::format("striate-throughput-{}.json", getpid());
}

}  // namespace striate::bench
