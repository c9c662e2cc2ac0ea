#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/experiments/confusion_figure.h"
#include "tools/experiments/kernel_history.h"
#include "tools/experiments/metrics_table.h"

namespace striate {

/// A picture of the report and what the network said of it.
struct ReportSample {
  std::string bytes;  ///< of a PNG or JPEG file
  std::string truth, predicted;
  double probability = 0.0;  ///< of what it predicted
};

/// Some of a part's pictures, and how many there are in all.
struct ReportSamples {
  std::vector<ReportSample> wrong, right;
  int64_t wrong_in_all = 0, right_in_all = 0;
};

/// What the report of a run shows; an absent part is left out of the page.
struct Report {
  std::string title, headline;
  std::optional<MetricsTable> metrics;
  std::optional<KernelHistory> kernels;
  std::optional<TuningHistory> tuning;
  std::string split;  ///< the part that the following three are about
  std::vector<std::string> classes;
  ConfusionMatrix confusion;  ///< empty: absent
  std::optional<ReportSamples> samples;
  std::vector<std::pair<std::string, std::string>> facts;  ///< name and value: model, machine, …
  std::string configuration;
  std::vector<std::string> notes;  ///< what a reader should know, such as what is missing and why
};

/// The page: one HTML file that carries its data, style and script and asks the network for nothing.
std::string report_page(const Report& report);

}  // namespace striate
