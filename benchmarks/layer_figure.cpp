#include "benchmarks/layer_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "tools/experiments/figure.h"
#include "tools/experiments/text_width.h"

namespace striate::bench {
namespace {

constexpr int kWidth = 2200, kLeft = 210, kRight = 40, kTop = 90, kBottom = 265, kBarHeight = 240;
constexpr double kBar = 0.86;  // of the room of a row
constexpr double kShade = 0.3;
constexpr int kFont = 22, kSmall = 17;
// Points to the pixels between two lines.
constexpr double kLine = 1.5;

struct Kind {
  const char* title;
  const char* colour;
};
constexpr std::array<Kind, 6> kKinds{{{"convolution", colour::kBlue},
                                      {"linear", colour::kOrange},
                                      {"pooling", colour::kGreen},
                                      {"normalization", colour::kPurple},
                                      {"optimizer", "#E69F00"},
                                      {"everything else", colour::kMuted}}};

/// Its place in kKinds.
size_t kind_of(const LayerTime& row) {
  if (row.kind == "Conv2d") return 0;
  if (row.kind == "Linear") return 1;
  if (row.kind.find("Pool") != std::string::npos) return 2;
  if (row.kind.find("Norm") != std::string::npos) return 3;
  return row.pass == Pass::optimizer ? 4 : 5;
}

/// A bar: what is drawn from left to right.
struct Bar {
  std::string name;
  std::vector<const LayerTime*> parts;
  double seconds = 0.0;
};

std::vector<Bar> bars_of(const LayerTimes& times) {
  std::vector<Bar> bars(3);
  bars[0].name = "forward";
  bars[1].name = "backward";
  bars[2].name = "the rest";
  for (const LayerTime& row : times.rows) {
    Bar& bar = bars[row.pass == Pass::forward ? 0 : row.pass == Pass::backward ? 1 : 2];
    bar.parts.push_back(&row);
    bar.seconds += row.seconds;
  }
  std::erase_if(bars, [](const Bar& bar) { return bar.seconds <= 0.0; });
  return bars;
}

std::string milliseconds(double seconds) {
  const double ms = seconds * 1e3;
  return fmt::format(fmt::runtime(ms < 0.0995  ? "{:.2g} ms"
                                  : ms < 9.995 ? "{:.2f} ms"
                                  : ms < 99.95 ? "{:.1f} ms"
                                               : "{:.0f} ms"),
                     ms);
}

enum class Place { level, upright, to_the_right };

void add_label(Figure& figure, const std::string& text, double x, double y, Place place) {
  const char* how = place == Place::level ? "center" : place == Place::upright ? "center rotate by 90" : "left";
  figure.line(fmt::format("set label {} at {:.9g},{:.9g} {} font ',{}' front", plain_text(text), x, y, how, kSmall));
}

/// As many lines as fit, the name first; upright where the part is narrow. False where it is a mere line.
bool label_part(Figure& figure, const LayerTime& part, double x, double y, double pixels, double pixels_a_unit) {
  const double room = pixels - 10.0, line_pixels = kSmall * kLine;
  const auto fits = [&](const std::string& text) { return !text.empty() && text_width(text, kSmall) <= room; };
  const std::string time = milliseconds(part.seconds);
  if (!fits(part.layer) || !fits(time)) {
    if (room < line_pixels * 0.8 || text_width(part.layer, kSmall) > kBarHeight * kBar) return false;
    const double aside = room < line_pixels * 1.8 ? 0.0 : line_pixels / 2 / pixels_a_unit;
    add_label(figure, part.layer, x - aside, y, Place::upright);
    if (aside > 0.0) add_label(figure, time, x + aside, y, Place::upright);
    return true;
  }
  const std::string whole = fmt::format("{}, {:.1f} %", time, part.share * 100.0);
  std::vector<std::string> lines = {part.layer, part.what, fits(whole) ? whole : time};
  if (part.of_limit) lines.push_back(fmt::format("{:.0f} % of limit", *part.of_limit * 100.0));
  std::erase_if(lines, [&](const std::string& text) { return !fits(text); });
  const double step = line_pixels / kBarHeight;
  double at = y + step * (static_cast<double>(lines.size()) - 1.0) / 2.0;
  for (const std::string& line : lines) {
    add_label(figure, line, x, at, Place::level);
    at -= step;
  }
  return true;
}

/// Draws one from 0 on, its parts without room named behind it where they are all there is.
void draw_bar(Figure& figure, const Bar& bar, double y, double pixels_a_unit, int& object) {
  double x = 0.0;
  std::string unnamed;
  bool all_unnamed = true;
  for (const LayerTime* part : bar.parts) {
    const char* fill = kKinds[kind_of(*part)].colour;
    const double width = part->seconds * 1e3;
    figure.line(
        fmt::format("set object {} rectangle from {:.9g},{:.6g} to {:.9g},{:.6g} noclip fillcolor rgb '{}' "
                    "fillstyle solid {} border linecolor rgb '{}'",
                    object++, x, y - kBar / 2, x + width, y + kBar / 2, fill, kShade, fill));
    all_unnamed &= !label_part(figure, *part, x + width / 2, y, width * pixels_a_unit, pixels_a_unit);
    if (part->seconds > 0.01 * bar.seconds) {
      unnamed += fmt::format("{}{} {}", unnamed.empty() ? "" : ", ", part->layer, milliseconds(part->seconds));
    }
    x += width;
  }
  if (all_unnamed) add_label(figure, unnamed, x + 12 / pixels_a_unit, y, Place::to_the_right);
}

}  // namespace

void draw_layers(const LayerTimes& times, const std::string& title, const std::string& footnote,
                 const std::filesystem::path& file) {
  const std::vector<Bar> bars = bars_of(times);
  double longest = 0.0;
  for (const Bar& bar : bars) longest = std::max(longest, bar.seconds);
  const auto count = static_cast<int>(bars.size());
  const int height = kTop + kBottom + count * kBarHeight;
  const double pixels_a_unit = (kWidth - kLeft - kRight) / (longest * 1e3);  // a millisecond

  Figure figure(kWidth, height, kFont);
  figure.line("set title " + plain_text(fmt::format("{}: {} a step", title, milliseconds(times.step_seconds))))
      .line(fmt::format("set lmargin at screen {:.6f}", static_cast<double>(kLeft) / kWidth))
      .line(fmt::format("set rmargin at screen {:.6f}", 1.0 - static_cast<double>(kRight) / kWidth))
      .line(fmt::format("set tmargin at screen {:.6f}", 1.0 - static_cast<double>(kTop) / height))
      .line(fmt::format("set bmargin at screen {:.6f}", static_cast<double>(kBottom) / height))
      .line("set xlabel 'Milliseconds'")
      .line("set label " + plain_text(footnote) +
            fmt::format(" at screen 0.5, screen {:.6f} center font ',{}' textcolor rgb '{}'", 22.0 / height, kSmall - 3,
                        colour::kMuted))
      .line(fmt::format("set xrange [0:{:.9g}]", longest * 1e3))
      .line(fmt::format("set yrange [{}:{}]", -0.5, count - 0.5))
      .line("unset grid")
      .line("set grid xtics")
      .line(fmt::format("set key at screen 0.5, screen {:.6f} center horizontal", 92.0 / height));
  std::array<bool, kKinds.size()> used{};
  int object = 1;
  for (int b = 0; b < count; ++b) {
    const Bar& bar = bars[static_cast<size_t>(b)];
    const double y = count - 1 - b, line = kFont * kLine / kBarHeight;
    figure.line(fmt::format("set label '{}' at graph -0.01, first {:.6g} right", bar.name, y + line / 2))
        .line(
            fmt::format("set label '{}' at graph -0.01, first {:.6g} right", milliseconds(bar.seconds), y - line / 2));
    for (const LayerTime* part : bar.parts) used[kind_of(*part)] = true;
    draw_bar(figure, bar, y, pixels_a_unit, object);
  }
  figure.line("unset ytics");
  std::string plot = "plot ";
  bool first = true;
  for (size_t i = 0; i < kKinds.size(); ++i) {
    if (!used[i]) continue;
    plot += fmt::format("{}NaN with boxes fillcolor rgb '{}' fillstyle solid {} border linecolor rgb '{}' title '{}'",
                        first ? "" : ", ", kKinds[i].colour, kShade, kKinds[i].colour, kKinds[i].title);
    first = false;
  }
  figure.line(plot).save(file);
}

}  // namespace striate::bench
