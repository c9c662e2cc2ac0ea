#include "tools/experiments/compare_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "kernels/error.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/text_width.h"

namespace striate {
namespace {

using Column = std::vector<std::optional<double>>;

constexpr int kWidth = 2000, kTop = 150, kPanel = 500, kBelowPanel = 170, kFont = 20;
/// Left and right edges of the two columns of panels.
constexpr std::array<std::array<int, 2>, 2> kSides = {{{150, 970}, {1140, 1960}}};

struct Run {
  std::string name;
  Column epoch, train_loss, val_loss, train_top1, val_top1;  // accuracies in percent
  std::optional<double> best_loss, best_top1, test_top1, seconds;
  double best_epoch = 0.0;
  bool diverged = false;
};

std::optional<double> median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  const size_t middle = values.size() / 2;
  std::sort(values.begin(), values.end());
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

Run read_run(const NamedMetrics& named) {
  const MetricsTable& metrics = named.second;
  const auto percent = [&](const char* name) {
    Column values = metrics.column(name);
    for (auto& value : values) {
      if (value) *value *= 100.0;
    }
    return values;
  };
  Run run{named.first,
          metrics.column("epoch"),
          metrics.column("train_loss"),
          metrics.column("val_loss"),
          percent("train_top1"),
          percent("val_top1"),
          {},
          {},
          {},
          {}};
  const Column seconds = metrics.column("seconds"), test = percent("test_top1");
  std::vector<double> times;
  for (size_t i = 0; i < run.epoch.size(); ++i) {
    const bool trained = run.epoch[i].value_or(0.0) > 0.0;
    const auto& loss = run.val_loss[i];
    const auto& top1 = run.val_top1[i];
    if (loss && std::isfinite(*loss) && (!run.best_loss || *loss < *run.best_loss)) run.best_loss = loss;
    if (top1 && (!run.best_top1 || *top1 > *run.best_top1)) {
      run.best_top1 = top1;
      run.best_epoch = run.epoch[i].value_or(0.0);
    }
    if (test[i]) run.test_top1 = test[i];
    if (trained && seconds[i]) times.push_back(*seconds[i]);
    // Where a loss is not a number the trainer leaves its cell empty.
    run.diverged = run.diverged || (trained && !(run.train_loss[i] && std::isfinite(*run.train_loss[i])));
  }
  run.seconds = median(times);
  return run;
}

struct Range {
  double low = 0.0, high = 1.0;
  bool cut = false;  // curves go beyond
};

/// What was measured, in trained epochs and before.
struct Extent {
  double low = std::numeric_limits<double>::infinity(), high = -low, untrained = -low;

  void add(double epoch, const std::optional<double>& value) {
    if (!value || !std::isfinite(*value)) return;
    if (epoch > 0.0) {
      low = std::min(low, *value), high = std::max(high, *value);
    } else {
      untrained = std::max(untrained, *value);
    }
  }
  bool trained() const { return low <= high; }
};

Extent extent_of(const std::vector<Run>& runs, Column Run::*training, Column Run::*validation) {
  Extent extent;
  for (const Run& run : runs) {
    for (size_t i = 0; i < run.epoch.size(); ++i) {
      extent.add(run.epoch[i].value_or(0.0), (run.*training)[i]);
      extent.add(run.epoch[i].value_or(0.0), (run.*validation)[i]);
    }
  }
  return extent;
}

/// Whether the untrained networks' value is shown: not where it would press all that came after into a corner.
bool shows_untrained(const Extent& extent, double epochs) {
  if (!std::isfinite(extent.untrained)) return false;
  const double all = std::max(extent.high, extent.untrained) - std::min(extent.low, extent.untrained);
  return !extent.trained() || epochs <= 2.0 || all <= 2.0 * (extent.high - extent.low);
}

/// A run that diverges must not press the others into a line: the losses of untrained networks are about the most that
/// is shown, where they are known.
Range loss_range(const std::vector<Run>& runs, double epochs) {
  const Extent extent = extent_of(runs, &Run::train_loss, &Run::val_loss);
  double low = extent.low, high = extent.high;
  const bool cut = extent.trained() && extent.untrained > low && high > 1.2 * extent.untrained;
  if (cut) high = 1.2 * extent.untrained;
  if (shows_untrained(extent, epochs)) low = std::min(low, extent.untrained), high = std::max(high, extent.untrained);
  if (!(low <= high)) low = 0.0, high = 1.0;
  const double margin = high > low ? 0.06 * (high - low) : 0.1 * std::abs(high) + 1e-3;
  return {low < 0.4 * high ? 0.0 : low - margin, high + margin, cut};
}

Range accuracy_range(const std::vector<Run>& runs, double epochs) {
  const Extent extent = extent_of(runs, &Run::train_top1, &Run::val_top1);
  double low = extent.low, high = extent.high;
  if (shows_untrained(extent, epochs)) low = std::min(low, extent.untrained), high = std::max(high, extent.untrained);
  if (!(low <= high)) return {0.0, 100.0};
  const double margin = std::max(0.06 * (high - low), 0.5);
  return {std::max(0.0, low - margin), std::min(100.0, high + margin)};
}

/// Seven colours after Okabe and Ito without their yellow, which white paper swallows; then the same with dashes.
struct Style {
  const char* colour;
  int dash, point;
};
Style style_of(size_t run) {
  constexpr std::array kColours = {colour::kBlue, colour::kOrange, colour::kGreen, "#CC79A7",
                                   "#E69F00",     "#56B4E9",       colour::kText};
  constexpr std::array kPoints = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};
  return {kColours[run % kColours.size()], 1 + static_cast<int>(run / kColours.size() % 5),
          kPoints[run % kPoints.size()]};
}

/// The picture's own pixels, from the top left, as gnuplot's screen coordinates.
struct Page {
  double width, height;
  std::string at(double x, double y) const {
    return fmt::format("screen {:.6f},screen {:.6f}", x / width, 1.0 - y / height);
  }
  void margins(Figure& figure, double left, double right, double top, double bottom) const {
    figure.line(fmt::format("set lmargin at screen {:.6f}", left / width));
    figure.line(fmt::format("set rmargin at screen {:.6f}", right / width));
    figure.line(fmt::format("set tmargin at screen {:.6f}", 1.0 - top / height));
    figure.line(fmt::format("set bmargin at screen {:.6f}", 1.0 - bottom / height));
  }
};

int tic_step(double epochs) {
  for (const int step : {1, 2, 5, 10, 20, 50, 100, 200, 500}) {
    if (epochs / step <= 8.0) return step;
  }
  return 1000;
}

void draw_panel(Figure& figure, const std::vector<Run>& runs, const char* title, int column) {
  figure.line(fmt::format("set title {} offset 0,-0.4 font 'DejaVu Sans Bold,{}' textcolor '{}'", plain_text(title),
                          kFont + 2, colour::kText));
  std::string plot;
  size_t rows = 0;
  for (const Run& run : runs) rows = std::max(rows, run.epoch.size());
  for (size_t r = 0; r < runs.size(); ++r) {
    const Style style = style_of(r);
    const char* how = rows <= 31 ? "linespoints" : "lines";
    const std::string points = rows <= 31 ? fmt::format(" pointtype {} pointsize 1.3", style.point) : "";
    plot += fmt::format("$run{} using 1:{} with {} linecolor '{}' dashtype {} linewidth 1.8{} notitle, ", r, column,
                        how, style.colour, style.dash, points);
  }
  figure.line("plot " + plot + "NaN notitle");
}

constexpr double kNameWidth = 560;
constexpr double kNumbers[] = {880, 1090, 1300};  // right edges of the table's columns of numbers
constexpr double kBars = 1370, kBarsEnd = 1960;

/// The table's rows are the bars' too: their panel is as high as the table.
void draw_table(Figure& figure, const Page& page, const std::vector<Run>& runs, double top, double row) {
  const double bottom = top + row * static_cast<double>(runs.size());
  figure.line("unset label").line("unset arrow").line("unset title");
  int tag = 1;
  const auto put = [&](const std::string& text, double x, double y, const char* where, const char* ink) {
    figure.line(fmt::format("set label {} {} at {} {} font ',{}' textcolor '{}'", tag++, plain_text(text),
                            page.at(x, y), where, kFont - 2, ink));
  };
  const double header = top - 34;
  put("Run", 150, header, "left", colour::kMuted);
  put("Lowest val. loss", kNumbers[0], header, "right", colour::kMuted);
  put("Best val. (%)", kNumbers[1], header, "right", colour::kMuted);
  put("Test (%)", kNumbers[2], header, "right", colour::kMuted);
  put("Median time of an epoch (s)", kBars, header, "left", colour::kMuted);
  double slowest = 0.0;
  std::vector<std::vector<std::optional<double>>> bars;
  for (size_t r = 0; r < runs.size(); ++r) {
    const Run& run = runs[r];
    const Style style = style_of(r);
    const double y = top + row * (static_cast<double>(r) + 0.5);
    figure.line(fmt::format("set arrow {} from {} to {} nohead linecolor '{}' dashtype {} linewidth 2.2", r + 1,
                            page.at(40, y), page.at(130, y), style.colour, style.dash));
    figure.line(fmt::format("set label {} '' at {} point pointtype {} pointsize 1.6 linecolor '{}'", tag++,
                            page.at(85, y), style.point, style.colour));
    // Two lines at most: a sweep's names are several settings.
    std::vector<std::string> lines = wrapped(run.name, kFont - 2, kNameWidth);
    if (lines.size() > 2) {
      std::string rest = lines[1];
      for (size_t i = 2; i < lines.size(); ++i) rest += " " + lines[i];
      lines = {lines[0], fitted(rest, kFont - 2, kNameWidth)};
    }
    for (size_t i = 0; i < lines.size(); ++i) {
      put(lines[i], 150, y + 30 * (static_cast<double>(i) - 0.5 * static_cast<double>(lines.size() - 1)), "left",
          colour::kText);
    }
    const auto number = [&](const std::optional<double>& value, const char* format, double x) {
      put(value ? fmt::format(fmt::runtime(format), *value) : "–", x, y, "right", colour::kText);
    };
    if (run.diverged) {
      put("diverged", kNumbers[0], y, "right", colour::kOrange);
    } else {
      number(run.best_loss, "{:.4f}", kNumbers[0]);
    }
    number(run.best_top1, "{:.2f}", kNumbers[1]);
    number(run.test_top1, "{:.2f}", kNumbers[2]);
    slowest = std::max(slowest, run.seconds.value_or(0.0));
    bars.push_back({static_cast<double>(r), run.seconds});
  }
  page.margins(figure, kBars, kBarsEnd, top, bottom);
  figure.data("bars", bars);
  figure.line("unset xlabel").line("unset ytics").line("set border 1").line("set format x '%g'");
  figure.line(fmt::format("set xrange [0:{}]", slowest > 0.0 ? 1.18 * slowest : 1.0)).line("set xtics autofreq");
  figure.line(fmt::format("set yrange [{}:-0.5]", static_cast<double>(runs.size()) - 0.5));
  figure.line("set style fill solid 1.0 noborder").line("set boxwidth 0.5");
  std::string plot;
  for (size_t r = 0; r < runs.size(); ++r) {
    if (!runs[r].seconds) continue;
    plot += fmt::format(
        "$bars every ::{0}::{0} using (0):1:(0):2:($1-0.28):($1+0.28) with boxxyerror linecolor '{1}' "
        "notitle, $bars every ::{0}::{0} using 2:1:(sprintf(' %.3g', $2)) with labels left font "
        "',{2}' textcolor '{3}' notitle, ",
        r, style_of(r).colour, kFont - 3, colour::kText);
  }
  figure.line("plot " + plot + "NaN notitle");
}

}  // namespace

void draw_run_comparison(const std::vector<NamedMetrics>& named, const std::string& title,
                         const std::filesystem::path& file) {
  require<ShapeError>(!named.empty(), "comparison: there is no run to draw");
  std::vector<Run> runs;
  double last_epoch = 1.0;
  for (const NamedMetrics& one : named) {
    runs.push_back(read_run(one));
    for (const auto& epoch : runs.back().epoch) last_epoch = std::max(last_epoch, epoch.value_or(0.0));
  }
  const bool long_names = std::any_of(runs.begin(), runs.end(),
                                      [](const Run& run) { return text_width(run.name, kFont - 2) > kNameWidth; });
  const double row = long_names ? 66 : runs.size() <= 24 ? 44 : 36;
  const double table = kTop + 2 * (kPanel + kBelowPanel) + 50;
  const Page page{kWidth, std::ceil(table + row * static_cast<double>(runs.size()) + 80)};

  Figure figure(kWidth, static_cast<int>(page.height), kFont);
  for (size_t r = 0; r < runs.size(); ++r) {
    std::vector<Column> rows;
    for (size_t i = 0; i < runs[r].epoch.size(); ++i) {
      rows.push_back(
          {runs[r].epoch[i], runs[r].train_loss[i], runs[r].val_loss[i], runs[r].train_top1[i], runs[r].val_top1[i]});
    }
    if (rows.empty()) rows.push_back(Column(5));
    figure.data(fmt::format("run{}", r), rows);
  }
  figure.line("set multiplot").line("unset key");
  const std::string heading =
      wrapped(title, 1.15 * 30, kWidth - 80).empty() ? "" : wrapped(title, 1.15 * 30, kWidth - 80).front();
  figure.line(fmt::format("set label 1 {} at {} left font 'DejaVu Sans Bold,30' textcolor '{}'", plain_text(heading),
                          page.at(40, 48), colour::kText));
  figure.line(fmt::format("set xrange [{}:{}]", -0.02 * last_epoch, 1.02 * last_epoch));
  figure.line(fmt::format("set xtics {}", tic_step(last_epoch)));
  const Range loss = loss_range(runs, last_epoch), accuracy = accuracy_range(runs, last_epoch);
  const auto panel = [&](size_t side, int down, const Range& range, const char* name, const char* axis, int column) {
    const double top = kTop + down * (kPanel + kBelowPanel);
    page.margins(figure, kSides[side][0], kSides[side][1], top, top + kPanel);
    figure.line(fmt::format("set yrange [{}:{}]", range.low, range.high));
    figure.line(fmt::format("set xlabel 'Epoch' offset 0,0.4 textcolor '{0}'", colour::kText));
    // At one place however wide the numbers are.
    figure.line(fmt::format("set label 2 '{}' at {} center rotate by 90 textcolor '{}'", axis,
                            page.at(kSides[side][0] - 118, top + kPanel / 2.0), colour::kText));
    draw_panel(figure, runs, name, column);
    figure.line("unset label 1");
  };
  const std::string beyond = loss.cut ? ", cut off at the top" : "";
  panel(0, 0, loss, ("Training loss" + beyond).c_str(), "Mean cross-entropy (nats)", 2);
  panel(1, 0, loss, ("Validation loss" + beyond).c_str(), "Mean cross-entropy (nats)", 3);
  panel(0, 1, accuracy, "Training accuracy", "Top-1 (%)", 4);
  panel(1, 1, accuracy, "Validation accuracy", "Top-1 (%)", 5);
  draw_table(figure, page, runs, table, row);
  figure.line("unset multiplot");
  figure.save(file);
}

std::vector<std::string> distinct_names(const std::vector<std::filesystem::path>& folders) {
  std::vector<std::vector<std::string>> parts;
  size_t longest = 1;
  for (const std::filesystem::path& folder : folders) {
    auto& path = parts.emplace_back();
    for (const auto& part : folder.lexically_normal()) {
      if (!part.empty() && part != "/") path.push_back(part.string());
    }
    longest = std::max(longest, path.size());
  }
  std::vector<std::string> names;
  for (size_t kept = 1; kept <= longest; ++kept) {
    names.clear();
    for (const auto& path : parts) {
      std::string name;
      for (size_t i = path.size() - std::min(kept, path.size()); i < path.size(); ++i) {
        name += (name.empty() ? "" : "/") + path[i];
      }
      names.push_back(name);
    }
    if (std::set<std::string>(names.begin(), names.end()).size() == names.size()) break;
  }
  return names;
}

}  // namespace striate
