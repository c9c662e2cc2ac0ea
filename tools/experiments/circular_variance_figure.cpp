#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/experiments/figure.h"
#include "tools/experiments/tuning_figures.h"
#include "tools/experiments/tuning_table.h"

namespace striate {
namespace {

constexpr int kBins = 20;
constexpr int kWidth = 1800, kHeight = 1660;
constexpr double kLeft = 0.085, kRight = 0.965;

double share(double pixels) { return 1.0 - pixels / kHeight; }

/// 1, 2 or 5 times a power of ten: about five labels.
int tic_step(int most) {
  for (int decade = 1;; decade *= 10) {
    for (const int step : {decade, 2 * decade, 5 * decade}) {
      if (most <= 6 * step) return step;
    }
  }
}

struct Quartiles {
  double lower, median, upper;
};

/// A box from quartile to quartile with its median, `row` boxes above the bars, and what it is.
void draw_quartiles(Figure& figure, int tag, int row, const Quartiles& quartiles, const char* colour,
                    const std::string& name) {
  const double y = 1.16 + 0.17 * row, half = 0.028;
  figure.line(
      fmt::format("set object {} rectangle from {},graph {} to {},graph {} noclip fillcolor '{}' fillstyle "
                  "transparent solid 0.35 border linecolor '{}' linewidth 1",
                  tag, quartiles.lower, y - half, quartiles.upper, y + half, colour, colour));
  figure.line(fmt::format("set arrow {} from {},graph {} to {},graph {} nohead linewidth 2.5 linecolor '{}'", tag,
                          quartiles.median, y - half, quartiles.median, y + half, colour));
  figure.line(fmt::format("set label {} {} at 0,graph {} font ',20' textcolor '{}'", tag,
                          plain_text(fmt::format("{}: median {:.3f}, quartiles {:.3f} to {:.3f}", name,
                                                 quartiles.median, quartiles.lower, quartiles.upper)),
                          y + 0.075, colour));
}

}  // namespace

std::vector<int> circular_variance_bins(const std::vector<Tuning>& tunings, double Tuning::*value) {
  std::vector<int> bins(kBins, 0);
  for (const double cv : defined_values(tunings, value)) {
    ++bins[static_cast<size_t>(std::min(kBins - 1, static_cast<int>(cv * kBins)))];
  }
  return bins;
}

void draw_circular_variance_histogram(const std::vector<Tuning>& tunings, const std::string& title,
                                      const std::filesystem::path& png) {
  struct Panel {
    double Tuning::*value;
    const char* name;
    double top, bottom;
  };
  const Panel panels[] = {
      {&Tuning::circular_variance, "Pooled over all gratings (the course's)", share(400), share(790)},
      {&Tuning::circular_variance_at_preferred_sf, "At the preferred spatial frequency (the physiologists')",
       share(1150), share(1540)}};
  const auto responsive =
      std::count_if(tunings.begin(), tunings.end(), [](const Tuning& tuning) { return tuning.responsive; });
  Figure figure(kWidth, kHeight, 22);
  figure.line("set multiplot").line("unset key");
  figure.line(fmt::format("set lmargin at screen {}", kLeft)).line(fmt::format("set rmargin at screen {}", kRight));
  figure.line(fmt::format("set label 1 {} at screen 0.025,{} font 'DejaVu Sans Bold,28' textcolor '{}'",
                          plain_text("Circular variance, " + title), share(52), colour::kText));
  const auto silent = static_cast<std::ptrdiff_t>(tunings.size()) - responsive;
  const std::string counted =
      silent > 0 ? fmt::format("{} of {} kernels; {} not responsive, left out", responsive, tunings.size(), silent)
                 : fmt::format("{} kernel{}", responsive, responsive == 1 ? "" : "s");
  figure.line(fmt::format("set label 2 '{}' at screen 0.025,{} textcolor '{}'", counted, share(104), colour::kMuted));
  figure.line("set xrange [0:1]").line("set xtics 0.1").line("set format x '%.1f'").line("set boxwidth 0.046");
  figure.line("set xlabel 'Circular variance (0: one orientation alone, 1: none preferred)' offset 0,0.2");
  for (const Panel& panel : panels) {
    const std::vector<int> bins = circular_variance_bins(tunings, panel.value);
    const std::vector<double> values = defined_values(tunings, panel.value);
    std::vector<std::vector<std::optional<double>>> rows;
    for (size_t i = 0; i < bins.size(); ++i) rows.push_back({(static_cast<double>(i) + 0.5) / kBins, bins[i]});
    const int most = std::max(1, *std::max_element(bins.begin(), bins.end()));
    const std::string block = panel.value == &Tuning::circular_variance ? "pooled" : "preferred";
    figure.data(block, rows);
    figure.line(fmt::format("set tmargin at screen {}", panel.top))
        .line(fmt::format("set bmargin at screen {}", panel.bottom));
    figure.line(fmt::format("set yrange [0:{}]", 1.05 * most)).line(fmt::format("set ytics {}", tic_step(most)));
    figure.line(fmt::format("set label 3 'Kernels' at screen 0.02,{} center rotate by 90 textcolor '{}'",
                            (panel.top + panel.bottom) / 2.0, colour::kText));
    figure.line(fmt::format("set label 4 {} at screen {},{} font 'DejaVu Sans Bold,22' textcolor '{}'",
                            plain_text(panel.name), kLeft, panel.top + 0.125, colour::kText));
    if (values.empty()) {
      figure.line("unset object 10").line("unset arrow 10").line("unset label 10");
    } else {
      draw_quartiles(figure, 10, 1, {quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75)},
                     colour::kBlue, "this layer");
    }
    draw_quartiles(figure, 11, 0, {kMacaqueLowerQuartile, kMacaqueMedian, kMacaqueUpperQuartile}, colour::kOrange,
                   "308 cells of macaque V1 (Ringach et al. 2002)");
    figure.line(fmt::format("plot ${} with boxes fillstyle solid 0.85 noborder linecolor '{}'", block, colour::kBlue));
    figure.line("unset label 1").line("unset label 2");
  }
  figure.line("unset multiplot");
  figure.save(png);
}

}  // namespace striate
