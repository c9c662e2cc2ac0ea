#include "benchmarks/scaling_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "tools/experiments/figure.h"

namespace striate::bench {
namespace {

constexpr int kWidth = 2000, kHeight = 1400;
constexpr std::array kColours = {colour::kBlue, colour::kOrange, colour::kGreen};
constexpr std::array kPoints = {7, 5, 9};

std::string curves(size_t panel, const ScalingPanel& of, int column, const std::string& reference) {
  std::string plot = "plot " + reference;
  for (size_t i = 0; i < of.curves.size(); ++i) {
    plot += fmt::format(
        ", $panel{}curve{} using 1:{} with linespoints linewidth 3 pointtype {} pointsize 1.8 linecolor rgb '{}' "
        "title {}",
        panel, i, column, kPoints[i % kPoints.size()], kColours[i % kColours.size()], plain_text(of.curves[i].name));
  }
  return plot;
}

}  // namespace

void draw_scaling(const std::vector<ScalingPanel>& panels, const std::string& title, const std::string& footnote,
                  const std::filesystem::path& file) {
  Figure figure(kWidth, kHeight, 22);
  double first = INFINITY, last = 1.0, lowest = INFINITY, highest = 0.0;
  for (size_t p = 0; p < panels.size(); ++p) {
    for (size_t c = 0; c < panels[p].curves.size(); ++c) {
      std::vector<std::vector<std::optional<double>>> rows;
      for (const ScalingCurve::Point& point : panels[p].curves[c].points) {
        rows.push_back({point.ranks, point.images_per_second, 100.0 * point.efficiency});
        first = std::min(first, point.ranks);
        last = std::max(last, point.ranks);
        // A curve that falls to nothing is left to fall out of the picture.
        lowest = std::min(lowest, point.ranks == 1.0 ? point.images_per_second : INFINITY);
        highest = std::max(highest, point.images_per_second / std::max(point.efficiency, 1e-9));
      }
      figure.data(fmt::format("panel{}curve{}", p, c), rows);
    }
  }
  std::string tics;
  for (double ranks = first; ranks <= last; ranks *= 2.0) {
    tics += fmt::format("{}'{:.0f}' {:.0f}", tics.empty() ? "" : ", ", ranks, ranks);
  }
  figure.line(fmt::format("set multiplot title {} font ',26'", plain_text(title)))
      .line("set logscale x 2")
      .line("set xtics (" + tics + ") font ',18'")
      .line(fmt::format("set xrange [{:.6g}:{:.6g}]", first / 1.2, last * 1.2))
      .line("set label 100 " + plain_text(footnote) +
            fmt::format(" at screen 0.5, screen 0.018 center font ',15' textcolor rgb '{}'", colour::kMuted));
  const auto columns = static_cast<double>(panels.size());
  for (size_t p = 0; p < panels.size(); ++p) {
    const double left = (static_cast<double>(p) + 0.17) / columns, right = (static_cast<double>(p) + 0.97) / columns;
    const double one =
        panels[p].curves.front().points.front().images_per_second / panels[p].curves.front().points.front().ranks;
    figure.line(fmt::format("set lmargin at screen {:.4f}", left))
        .line(fmt::format("set rmargin at screen {:.4f}", right))
        .line("set tmargin at screen 0.89")
        .line("set bmargin at screen 0.47")
        .line("set title " + plain_text(panels[p].title))
        .line("unset xlabel")
        .line("set ylabel 'Images a second' offset -1")
        .line("set logscale y 10")
        .line("set format y '10^{%T}'")
        .line("set ytics auto")
        .line(fmt::format("set yrange [{:.6g}:{:.6g}]", lowest / 3.0, highest * 1.5))
        .line(p == 0 ? "set key left top Left reverse samplen 2 width -6 font ',18'" : "unset key")
        .line(curves(p, panels[p], 2,
                     fmt::format("{:.9g}*x with lines linewidth 2 dashtype 2 linecolor rgb '{}' title 'ideal'", one,
                                 colour::kMuted)))
        .line("unset label 100")
        .line("unset title")
        .line("set tmargin at screen 0.40")
        .line("set bmargin at screen 0.115")
        .line("set xlabel 'Ranks'")
        .line("set ylabel 'Efficiency (%)'")
        .line("unset logscale y")
        .line("set format y '%g'")
        .line("set ytics 0, 25, 100")
        .line("set yrange [0:110]")
        .line("unset key")
        .line(curves(
            p, panels[p], 3,
            fmt::format("100 with lines linewidth 2 dashtype 2 linecolor rgb '{}' title 'ideal'", colour::kMuted)));
  }
  figure.line("unset multiplot").save(file);
}

}  // namespace striate::bench
