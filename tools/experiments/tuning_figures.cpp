#include "tools/experiments/tuning_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <system_error>
#include <utility>

#include "kernels/error.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/filter_images.h"
#include "tools/experiments/tuning_table.h"

namespace striate {
namespace {

using Rows = std::vector<std::vector<std::optional<double>>>;

constexpr int kWidth = 1800, kHeight = 640;
/// Shares of the picture: left and right of the three panels, and their bottom and top.
constexpr std::array<std::pair<double, double>, 3> kPanels = {{{0.085, 0.365}, {0.445, 0.725}, {0.765, 0.985}}};
constexpr double kBottom = 0.175, kTop = 0.79;

std::string number(double value, const char* format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : std::string("undefined");
}

std::vector<size_t> ascending(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  return order;
}

/// The curve over [0, 180], closed: what it begins with stands at its end again. Orientations beyond 180° (drifting
/// gratings' directions) fall on those below.
Rows orientation_rows(const GratingGrid& grid, const Tuning& tuning) {
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < grid.orientations_deg.size(); ++i) {
    const double degrees = grid.orientations_deg[i];
    points.emplace_back(degrees - 180.0 * std::floor(degrees / 180.0), tuning.orientation_curve[i]);
  }
  std::sort(points.begin(), points.end());
  points.emplace_back(points.front().first + 180.0, points.front().second);
  Rows rows;
  for (const auto& [degrees, response] : points) rows.push_back({degrees, response});
  return rows;
}

Rows frequency_rows(const GratingGrid& grid, const Tuning& tuning) {
  Rows rows;
  for (const size_t i : ascending(grid.cycles_per_image)) {
    rows.push_back({grid.cycles_per_image[i], tuning.frequency_curve[i]});
  }
  return rows;
}

Rows pixel_rows(const Image& image) {
  Rows rows;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* pixel = image.row(y) + x * image.channels;
      const int green = image.channels == 3 ? 1 : 0, blue = image.channels == 3 ? 2 : 0;
      rows.push_back({x, y, pixel[0], pixel[green], pixel[blue]});
    }
  }
  return rows;
}

void place(Figure& figure, size_t panel) {
  figure.line(fmt::format("set lmargin at screen {}", kPanels[panel].first));
  figure.line(fmt::format("set rmargin at screen {}", kPanels[panel].second));
}

/// The power of ten that the axis of a response is in, so that its numbers stay short; 0 for most.
int response_exponent(double peak) {
  return peak < 0.01 || peak >= 1e4 ? static_cast<int>(std::floor(std::log10(peak))) : 0;
}

/// Tics at 1, 2 and 5 times powers of ten.
std::string frequency_tics(double low, double high) {
  std::string tics;
  for (double decade = 1e-3; decade < 1e6; decade *= 10.0) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double value = decade * factor;
      if (value >= low && value <= high) tics += fmt::format("{}{:g}", tics.empty() ? "" : ", ", value);
    }
  }
  return tics;
}

std::string kernel_line(const Tuning& t) {
  if (!t.responsive) return "not responsive: no grating drives it above zero";
  return fmt::format(
      "prefers {} at {:.3g} cycles/image   ·   CV {} pooled over all gratings, {} at that frequency   "
      "·   F1/F0 {}",
      number(t.preferred_orientation_deg, "{:.1f}°"), t.preferred_cycles_per_image,
      number(t.circular_variance, "{:.2f}"), number(t.circular_variance_at_preferred_sf, "{:.2f}"),
      number(t.f1_f0, "{:.2f}"));
}

Figure kernel_figure(const LayerResponses& responses, const Tuning& tuning, const Image& kernel,
                     const std::string& title) {
  const GratingGrid& grid = responses.grid;
  Figure figure(kWidth, kHeight, 20);
  figure.data("orientation", orientation_rows(grid, tuning)).data("frequency", frequency_rows(grid, tuning));
  figure.data("kernel", pixel_rows(kernel));
  figure.line("set multiplot").line("unset key");
  figure.line(fmt::format("set bmargin at screen {}", kBottom)).line(fmt::format("set tmargin at screen {}", kTop));
  figure.line(fmt::format("set label 1 {} at screen 0.02,0.935 font 'DejaVu Sans Bold,24' textcolor '{}'",
                          plain_text(title), colour::kText));
  figure.line(fmt::format("set label 2 {} at screen 0.02,0.86 font ',20' textcolor '{}'",
                          plain_text(kernel_line(tuning)), colour::kMuted));
  const double peak = tuning.peak_response > 0.0 ? tuning.peak_response : 1.0;
  const int exponent = response_exponent(peak);
  const double unit = std::pow(10.0, exponent);
  const std::string unit_text = exponent == 0 ? "" : fmt::format(" (10^{{{}}})", exponent);
  figure.line(fmt::format("set yrange [0:{}]", 1.08 * peak / unit)).line("set format y '%g'");

  place(figure, 0);
  figure.line("set xrange [0:180]").line("set xtics 45").line("set format x '%.0f°'");
  figure.line("set xlabel 'Orientation of the grating' offset 0,0.2")
      .line(fmt::format("set label 3 'Mean response{}' at screen 0.018,0.48 center rotate by 90", unit_text));
  if (std::isfinite(tuning.preferred_orientation_deg)) {
    figure.line(fmt::format("set arrow 1 from {0},graph 0 to {0},graph 1 nohead dashtype 2 linewidth 1 linecolor '{1}'",
                            tuning.preferred_orientation_deg, colour::kOrange));
  }
  figure.line(fmt::format(
      "plot $orientation using 1:($2/{1}) with linespoints pointtype 7 pointsize 1.1 linewidth 2 linecolor '{0}'",
      colour::kBlue, unit));

  place(figure, 1);
  figure.line("unset label 1").line("unset label 2").line("unset label 3").line("unset arrow 1");
  const auto [low, high] = std::minmax_element(grid.cycles_per_image.begin(), grid.cycles_per_image.end());
  const double first = *low / 1.15, last = *high * 1.15;
  figure.line("set logscale x").line(fmt::format("set xrange [{}:{}]", first, last)).line("set format x '%g'");
  figure.line(fmt::format("set xtics ({})", frequency_tics(first, last)));
  figure.line("set xlabel 'Spatial frequency (cycles/image)' offset 0,0.2");
  if (tuning.responsive) {
    figure.line(fmt::format("set arrow 1 from {0},graph 0 to {0},graph 1 nohead dashtype 2 linewidth 1 linecolor '{1}'",
                            tuning.preferred_cycles_per_image, colour::kOrange));
  }
  figure.line(fmt::format(
      "plot $frequency using 1:($2/{1}) with linespoints pointtype 7 pointsize 1.1 linewidth 2 linecolor '{0}'",
      colour::kBlue, unit));

  place(figure, 2);
  figure.line("unset arrow 1").line("unset logscale x").line("unset border").line("unset grid");
  figure.line("unset xtics").line("unset ytics").line("set size ratio -1");
  const int64_t channels = responses.weight.dim(3);
  const std::string name = fmt::format("Kernel, {}×{} pixels{}", responses.weight.dim(1), responses.weight.dim(2),
                                       channels == 1 || channels == 3 ? "" : fmt::format(", {} channels", channels));
  figure.line(fmt::format("set xlabel {} offset 0,0.2", plain_text(name)));
  figure.line(fmt::format("set xrange [-0.5:{}] noextend", kernel.width - 0.5))
      .line(fmt::format("set yrange [{}:-0.5] noextend", kernel.height - 0.5));
  figure.line("plot $kernel with rgbimage pixels").line("unset multiplot");
  return figure;
}

Figure polar_figure(const GratingGrid& grid, const Tuning& tuning, const std::string& title) {
  constexpr int kSide = 1000;
  Figure figure(kSide, kSide + 140, 20);
  Rows rows = orientation_rows(grid, tuning);
  const Rows half(rows.begin(), rows.end() - 1);
  rows.pop_back();
  // Orientation repeats after 180°: the other half of the circle is the same curve.
  for (const auto& row : half) rows.push_back({*row[0] + 180.0, row[1]});
  rows.push_back({*half[0][0] + 360.0, half[0][1]});
  figure.data("response", rows);
  const double peak = tuning.peak_response > 0.0 ? tuning.peak_response : 1.0;
  figure.line("set polar").line("set angles degrees").line("unset key").line("unset border");
  figure.line("unset xtics").line("unset ytics").line("set size square");
  figure.line("set lmargin at screen 0.09").line("set rmargin at screen 0.91");
  figure.line("set bmargin at screen 0.06")
      .line(fmt::format("set tmargin at screen {}", 0.06 + 0.82 * kSide / (kSide + 140.0)));
  figure.line(fmt::format("set rrange [0:{}]", 1.1 * peak)).line("unset raxis");
  figure.line(fmt::format("set rtics axis {} format '%.2g' font ',16' textcolor '{}'", peak / 2.0, colour::kMuted));
  figure.line(fmt::format("set grid polar 22.5 linetype 1 linewidth 0.5 linecolor '{}'", colour::kGrid));
  for (int degrees = 0; degrees < 360; degrees += 45) {
    figure.line(fmt::format("set label {} '{}°' at {},{} center font ',18' textcolor '{}'", 10 + degrees / 45, degrees,
                            1.19 * peak * std::cos(degrees * M_PI / 180.0),
                            1.19 * peak * std::sin(degrees * M_PI / 180.0), colour::kText));
  }
  figure.line(fmt::format("set label 1 {} at screen 0.04,0.965 font 'DejaVu Sans Bold,24' textcolor '{}'",
                          plain_text(title), colour::kText));
  const std::string line = tuning.responsive ? fmt::format("mean response at {:.3g} cycles/image   ·   prefers {}",
                                                           tuning.preferred_cycles_per_image,
                                                           number(tuning.preferred_orientation_deg, "{:.1f}°"))
                                             : kernel_line(tuning);
  figure.line(
      fmt::format("set label 2 {} at screen 0.04,0.92 font ',20' textcolor '{}'", plain_text(line), colour::kMuted));
  figure.line(
      fmt::format("plot $response with filledcurves closed fillstyle transparent solid 0.25 noborder linecolor "
                  "'{0}', $response with lines linewidth 2 linecolor '{0}'",
                  colour::kBlue));
  return figure;
}

}  // namespace

void draw_kernel_figures(const LayerResponses& responses, const std::vector<Tuning>& tunings, const std::string& title,
                         const std::filesystem::path& folder, PolarPlots polar) {
  const std::vector<Image> kernels = filter_images(responses.weight);
  std::vector<std::pair<std::filesystem::path, Figure>> figures;
  for (size_t k = 0; k < tunings.size(); ++k) {
    const std::string heading = fmt::format("Kernel {} of {}", k, title);
    figures.emplace_back(folder / fmt::format("kernel_{:02}.png", k),
                         kernel_figure(responses, tunings[k], kernels[k], heading));
    if (polar == PolarPlots::yes) {
      figures.emplace_back(folder / fmt::format("kernel_{:02}_polar.png", k),
                           polar_figure(responses.grid, tunings[k], heading));
    }
  }
  Figure::save_all(figures);
}

void write_tuning_folder(const LayerResponses& responses, const std::vector<Tuning>& tunings, const std::string& title,
                         const std::vector<std::pair<std::string, std::string>>& metadata,
                         const std::filesystem::path& folder, PolarPlots polar) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require<IoError>(!error, "{}: the folder cannot be made: {}", folder.string(), error.message());
  write_tuning_table((folder / "tuning.csv").string(), tunings);
  write_responses((folder / "responses.safetensors").string(), responses, metadata);
  draw_circular_variance_histogram(tunings, title, folder / "circular_variance_histogram.png");
  draw_kernel_figures(responses, tunings, title, folder, polar);
}

}  // namespace striate
