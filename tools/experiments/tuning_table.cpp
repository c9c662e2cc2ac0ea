#include "tools/experiments/tuning_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/train/atomic_file.h"

namespace striate {
namespace {

std::string number(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}g}", value, digits) : std::string();
}

std::string cell(double value, const char* unit = "") {
  return std::isfinite(value) ? fmt::format("{:.3g}{}", value, unit) : std::string("-");
}

/// "frequency bandwidth (octaves)"
std::string titled(const TuningColumn& column) {
  const std::string unit = column.unit;
  if (unit.empty()) return column.title;
  return fmt::format("{} ({})", column.title, unit.substr(unit[0] == ' ' ? 1 : 0));
}

}  // namespace

const std::vector<TuningColumn>& tuning_columns() {
  constexpr double kNone = Tuning::kUndefined;
  // Where the paper gives a monotonic function of the measure (orthogonal/preferred 0.190), its median is carried over.
  static const std::vector<TuningColumn> columns = {
      {"preferred_orientation_deg", &Tuning::preferred_orientation_deg, "preferred orientation", "°", kNone},
      {"preferred_sf_cycles_per_image", &Tuning::preferred_cycles_per_image, "preferred frequency", " c/image", kNone},
      {"preferred_sf_cycles_per_pixel", &Tuning::preferred_cycles_per_pixel, "", " c/pixel", kNone},
      {"preferred_sf_cycles_per_degree", &Tuning::preferred_cycles_per_degree, "", " c/degree", kNone},
      {"circular_variance", &Tuning::circular_variance, "circular variance, pooled over all gratings", "", kNone},
      {"circular_variance_at_preferred_sf", &Tuning::circular_variance_at_preferred_sf,
       "circular variance at the preferred frequency", "", kMacaqueMedian},
      {"orientation_selectivity", &Tuning::orientation_selectivity, "orientation selectivity index", "",
       (1.0 - 0.190) / (1.0 + 0.190)},
      {"global_orientation_selectivity", &Tuning::global_orientation_selectivity, "global selectivity index", "",
       1.0 - kMacaqueMedian},
      {"orientation_bandwidth_deg", &Tuning::orientation_bandwidth_deg, "orientation bandwidth", "°", 23.5},
      {"sf_bandwidth_octaves", &Tuning::sf_bandwidth_octaves, "frequency bandwidth", " octaves", kNone},
      {"f1_f0", &Tuning::f1_f0, "modulation ratio F1/F0", "", 0.58},
      {"peak_response", &Tuning::peak_response, "peak response", "", kNone}};
  return columns;
}

void write_tuning_table(const std::string& file, const std::vector<Tuning>& tunings) {
  std::string text = "kernel,responsive";
  for (const TuningColumn& column : tuning_columns()) text += fmt::format(",{}", column.name);
  for (size_t k = 0; k < tunings.size(); ++k) {
    text += fmt::format("\n{},{}", k, tunings[k].responsive ? 1 : 0);
    for (const TuningColumn& column : tuning_columns()) {
      text += ',';
      text += number(tunings[k].*column.value, 7);
    }
  }
  write_file_atomically(file, text + "\n");
}

std::vector<double> defined_values(const std::vector<Tuning>& tunings, double Tuning::*value) {
  std::vector<double> values;
  for (const Tuning& tuning : tunings) {
    if (tuning.responsive && std::isfinite(tuning.*value)) values.push_back(tuning.*value);
  }
  return values;
}

std::string tuning_summary(const std::vector<Tuning>& tunings) {
  std::vector<size_t> order;
  for (size_t k = 0; k < tunings.size(); ++k) {
    if (tunings[k].responsive) order.push_back(k);
  }
  std::string text = fmt::format("{} of {} kernels respond to gratings\n", order.size(), tunings.size());
  if (order.empty()) return text;

  text += fmt::format("\n{:<46}{:>10}{:>14}{:>14}{:>14}\n", "", "median", "1st quartile", "3rd quartile", "macaque V1");
  for (const TuningColumn& column : tuning_columns()) {
    // An angle has no median, and one frequency in three units is read once.
    if (column.value == &Tuning::preferred_orientation_deg || *column.title == '\0') continue;
    const std::vector<double> values = defined_values(tunings, column.value);
    text += fmt::format("{:<46}{:>10}{:>14}{:>14}{:>14}\n", titled(column), cell(quantile(values, 0.5)),
                        cell(quantile(values, 0.25)), cell(quantile(values, 0.75)),
                        std::isfinite(column.macaque) ? cell(column.macaque) : "");
  }

  constexpr size_t kListed = 10;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return tunings[a].circular_variance_at_preferred_sf < tunings[b].circular_variance_at_preferred_sf;
  });
  text += order.size() > kListed ? fmt::format("\nthe {} most selective kernels\n", kListed) : "\n";
  order.resize(std::min(order.size(), kListed));
  text += fmt::format("{:>8}{:>13}{:>18}{:>12}{:>14}{:>12}{:>8}\n", "kernel", "orientation", "frequency", "CV pooled",
                      "CV preferred", "bandwidth", "F1/F0");
  for (const size_t k : order) {
    const Tuning& t = tunings[k];
    text +=
        fmt::format("{:>8}{:>13}{:>18}{:>12}{:>14}{:>12}{:>8}\n", k, cell(t.preferred_orientation_deg, "°"),
                    cell(t.preferred_cycles_per_image, " c/image"), cell(t.circular_variance),
                    cell(t.circular_variance_at_preferred_sf), cell(t.orientation_bandwidth_deg, "°"), cell(t.f1_f0));
  }
  return text;
}

}  // namespace striate
