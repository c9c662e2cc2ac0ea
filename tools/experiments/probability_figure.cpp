#include "tools/experiments/probability_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "kernels/error.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/text_width.h"

namespace striate {
namespace {

constexpr double kLowest = 1e-5;  // of the colour scale
constexpr int kTop = 160, kLeft = 130, kGap = 90, kRight = 40;
constexpr int kBar = 660;      // least width of the colour scale: its numbers must not touch
constexpr int kNumbered = 60;  // least cell that has room for its class's number; smaller ones are read off the axes

/// Where everything lies, in pixels from the upper left.
struct Layout {
  int64_t rows = 0, columns = 0;
  int cell = 0, map_width = 0, map_height = 0;
  int picture_width = 0, picture_height = 0;
  int side_left = 0, side_width = 0, list_top = 0;
  int width = 0, height = 0;

  double x(double pixels) const { return pixels / width; }
  double y(double pixels) const { return 1.0 - pixels / height; }
};

constexpr int kNameFont = 22, kLine = 74;

Layout lay_out(int64_t classes, const std::vector<std::string>& listed, const Thumbnail& picture,
               const std::string& title, const std::string& subtitle) {
  Layout layout;
  std::tie(layout.rows, layout.columns) = probability_grid(classes);
  layout.cell = std::clamp(static_cast<int>(1320 / layout.columns), 6, 130);
  layout.map_width = layout.cell * static_cast<int>(layout.columns);
  layout.map_height = layout.cell * static_cast<int>(layout.rows);
  const double scale = std::min(420.0 / std::max(picture.width, 1), 360.0 / std::max(picture.height, 1));
  layout.picture_width = static_cast<int>(std::lround(scale * picture.width));
  layout.picture_height = static_cast<int>(std::lround(scale * picture.height));
  double widest = 420.0;
  for (const std::string& name : listed) widest = std::max(widest, 70.0 + text_width(name, kNameFont));
  layout.side_width = static_cast<int>(std::min(widest, 760.0));
  layout.side_left = kLeft + std::max(layout.map_width, kBar) + kGap;
  layout.list_top = kTop + (layout.picture_height > 0 ? layout.picture_height + 60 : 10);
  const int text = 80 + static_cast<int>(std::max(1.15 * text_width(title, 28), text_width(subtitle, 20)));
  layout.width = std::max(layout.side_left + layout.side_width + kRight, std::min(text, 2600));
  const int list_bottom = layout.list_top + kLine * static_cast<int>(listed.size());
  layout.height = std::max(kTop + layout.map_height + 230, list_bottom + 40);
  return layout;
}

void draw_picture(Figure& figure, const Layout& at, const Thumbnail& picture) {
  if (at.picture_width == 0) return;
  std::vector<std::vector<std::optional<double>>> pixels;
  for (int row = 0; row < picture.height; ++row) {
    for (int column = 0; column < picture.width; ++column) {
      const uint8_t* rgb = picture.rgb.data() + 3 * (static_cast<size_t>(row) * picture.width + column);
      pixels.push_back({column, row, rgb[0], rgb[1], rgb[2]});
    }
  }
  figure.data("picture", pixels);
  figure.line(fmt::format("set lmargin at screen {}", at.x(at.side_left)))
      .line(fmt::format("set rmargin at screen {}", at.x(at.side_left + at.picture_width)))
      .line(fmt::format("set tmargin at screen {}", at.y(kTop)))
      .line(fmt::format("set bmargin at screen {}", at.y(kTop + at.picture_height)));
  figure.line("unset border").line("unset tics").line("unset colorbox").line("unset object");
  figure.line(fmt::format("set xrange [-0.5:{}] noextend", picture.width - 0.5));
  figure.line(fmt::format("set yrange [{}:-0.5] noextend", picture.height - 0.5));
  figure.line("plot $picture with rgbimage");
}

std::string percent_text(double probability) {
  return probability < 0.0005 ? fmt::format("{:.1g}", 100.0 * probability) : fmt::format("{:.1f}", 100.0 * probability);
}

const char* text_on(double probability) { return probability > 0.012 ? "#FFFFFF" : colour::kText; }

/// Its class's number in every cell's corner.
void number_cells(Figure& figure, const Layout& at, const std::vector<double>& probabilities) {
  figure.line("unset xtics").line("unset ytics");
  for (size_t c = 0; c < probabilities.size(); ++c) {
    const auto column = static_cast<double>(static_cast<int64_t>(c) % at.columns);
    const auto row = static_cast<double>(static_cast<int64_t>(c) / at.columns);
    figure.line(fmt::format("set label {} '{}' at {},{} front font ',14' textcolor '{}'", 100 + c, c, column - 0.42,
                            row - 0.32, text_on(probabilities[c])));
  }
}

std::string tics(int64_t count, int64_t step, int64_t factor) {
  std::string list;
  for (int64_t i = 0; i < count; i += step) list += fmt::format("{}'{}' {}", i == 0 ? "" : ", ", factor * i, i);
  return "(" + list + ")";
}

void draw_axes(Figure& figure, const Layout& at) {
  const int64_t column_step = at.columns > 80   ? 10
                              : at.columns > 20 ? 5
                                                : 1,
                row_step = std::max<int64_t>(1, (at.rows + 24) / 25);
  figure.line("set xtics scale 0.4 " + tics(at.columns, column_step, 1));
  figure.line("set ytics scale 0.4 " + tics(at.rows, row_step, at.columns));
  figure.line(fmt::format("set label 3 'Column' at screen {},{} center font ',20' textcolor '{}'",
                          at.x(kLeft + at.map_width / 2.0), at.y(kTop + at.map_height + 68.0), colour::kText));
  figure.line(
      fmt::format("set label 4 'First class of the row' at screen {},{} center rotate by 90 font ',20' textcolor '{}'",
                  at.x(30), at.y(kTop + at.map_height / 2.0), colour::kText));
}

}  // namespace

std::pair<int64_t, int64_t> probability_grid(int64_t classes) {
  constexpr double kAspect = 40.0 / 25.0;
  constexpr double kBlank = 12.0;  // a grid without a gap is worth a shape that is half as wide again
  std::pair<int64_t, int64_t> best{1, std::max<int64_t>(classes, 1)};
  double lowest = HUGE_VAL;
  for (int64_t rows = 1; rows * rows <= classes; ++rows) {
    const int64_t columns = (classes + rows - 1) / rows;
    const double blank = static_cast<double>(rows * columns - classes) / static_cast<double>(classes);
    const double shape = std::abs(std::log(static_cast<double>(columns) / static_cast<double>(rows) / kAspect));
    if (const double cost = shape + kBlank * blank; cost < lowest) {
      lowest = cost;
      best = {rows, columns};
    }
  }
  return best;
}

void draw_probabilities(const std::vector<double>& probabilities, const std::vector<std::string>& names,
                        const Thumbnail& picture, const std::string& title, const std::string& subtitle,
                        const std::filesystem::path& png) {
  require<ShapeError>(probabilities.size() == names.size() && !names.empty(),
                      "heat map: {} probabilities but {} class names", probabilities.size(), names.size());
  const auto classes = static_cast<int64_t>(names.size());
  std::vector<size_t> order(names.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t listed = std::min<size_t>(5, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(listed), order.end(),
                    [&](size_t a, size_t b) {
                      return probabilities[a] > probabilities[b] || (probabilities[a] == probabilities[b] && a < b);
                    });
  std::vector<std::string> top;
  for (size_t i = 0; i < listed; ++i) top.push_back(names[order[i]]);
  const Layout at = lay_out(classes, top, picture, title, subtitle);

  std::vector<std::vector<std::optional<double>>> cells;
  for (int64_t c = 0; c < classes; ++c) {
    const auto column = static_cast<double>(c % at.columns), row = static_cast<double>(c / at.columns);
    cells.push_back({column, row, column - 0.5, column + 0.5, row - 0.5, row + 0.5,
                     std::max(probabilities[static_cast<size_t>(c)], kLowest)});
  }

  Figure figure(at.width, at.height, 18);
  figure.data("cells", cells);
  figure.line("set multiplot").line("unset key").line("unset grid");
  figure.line(fmt::format("set label 1 {} at screen {},{} font 'DejaVu Sans Bold,28' textcolor '{}'",
                          plain_text(fitted(title, 28, (at.width - 80) / 1.15)), at.x(40), at.y(52), colour::kText));
  figure.line(fmt::format("set label 2 {} at screen {},{} font ',20' textcolor '{}'",
                          plain_text(fitted(subtitle, 20, at.width - 80)), at.x(40), at.y(102), colour::kMuted));
  for (size_t i = 0; i < listed; ++i) {
    const double y = at.list_top + kLine * (static_cast<double>(i) + 0.3);
    figure.line(fmt::format("set label {} '{}' at screen {},{} center font 'DejaVu Sans Bold,22' textcolor '{}'",
                            10 + 3 * i, i + 1, at.x(at.side_left + 16), at.y(y), colour::kOrange));
    figure.line(fmt::format("set label {} {} at screen {},{} font ',{}' textcolor '{}'", 11 + 3 * i,
                            plain_text(fitted(top[i], kNameFont, at.side_width - 50)), at.x(at.side_left + 50), at.y(y),
                            kNameFont, colour::kText));
    figure.line(fmt::format("set label {} '{} %   ·   class {}' at screen {},{} font ',18' textcolor '{}'", 12 + 3 * i,
                            percent_text(probabilities[order[i]]), order[i], at.x(at.side_left + 50), at.y(y + 30),
                            colour::kMuted));
  }

  figure.line(fmt::format("set lmargin at screen {}", at.x(kLeft)))
      .line(fmt::format("set rmargin at screen {}", at.x(kLeft + at.map_width)))
      .line(fmt::format("set tmargin at screen {}", at.y(kTop)))
      .line(fmt::format("set bmargin at screen {}", at.y(kTop + at.map_height)));
  figure.line(fmt::format("set border 15 linecolor '{}' linewidth 0.5", colour::kMuted));
  figure.line(fmt::format("set xrange [-0.5:{}] noextend", static_cast<double>(at.columns) - 0.5));
  figure.line(fmt::format("set yrange [{}:-0.5] noextend", static_cast<double>(at.rows) - 0.5));
  if (at.cell >= kNumbered) {
    number_cells(figure, at, probabilities);
  } else {
    draw_axes(figure, at);
  }
  figure.line("set palette defined (0 '#FFFFFF', 1 '#DCEAF5', 2 '#9CC7E3', 3 '#4A98C9', 4 '#1563A5', 5 '#08306B')");
  figure.line("set logscale cb").line(fmt::format("set cbrange [{}:1]", kLowest));
  figure.line(
      "set cbtics scale 0.4 ('≤ 0.001 %%' 1e-5, '0.01 %%' 1e-4, '0.1 %%' 1e-3, '1 %%' 1e-2, '10 %%' 0.1, '100 %%' 1)");
  figure.line(fmt::format("set colorbox horizontal user origin {},{} size {},{} border", at.x(kLeft),
                          at.y(kTop + at.map_height + 140), at.x(std::max(at.map_width, kBar)), 26.0 / at.height));
  figure.line(fmt::format("set label 5 'Probability' at screen {},{} font ',20' textcolor '{}'", at.x(kLeft),
                          at.y(kTop + at.map_height + 98.0), colour::kText));
  const int rank_font = std::clamp(at.cell / 2, 8, 26);
  for (size_t i = 0; i < listed; ++i) {
    const auto c = static_cast<int64_t>(order[i]);
    const double column = static_cast<double>(c % at.columns), row = static_cast<double>(c / at.columns);
    figure.line(
        fmt::format("set object {} rectangle from {},{} to {},{} front fillstyle empty border linecolor '{}' "
                    "linewidth 1.6",
                    i + 1, column - 0.5, row - 0.5, column + 0.5, row + 0.5, colour::kOrange));
    figure.line(fmt::format("set label {} '{}' at {},{} center front font 'DejaVu Sans Bold,{}' textcolor '{}'", 30 + i,
                            i + 1, column, row, rank_font, text_on(probabilities[order[i]])));
  }
  figure.line("set style fill solid border linecolor '#FFFFFF'");
  // Not "with image", which wants two rows and two columns at least.
  figure.line("plot $cells using 1:2:3:4:5:6:7 with boxxyerror fillcolor palette linewidth 0.4");
  figure.line("unset label");
  draw_picture(figure, at, picture);
  figure.line("unset multiplot");
  figure.save(png);
}

}  // namespace striate
