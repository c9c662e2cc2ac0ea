#include "tools/experiments/training_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "kernels/error.h"
#include "tools/experiments/circular_variance_history.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/tuning.h"

namespace striate {
namespace {

using Column = std::vector<std::optional<double>>;

constexpr int kWidth = 1800;
constexpr double kLeft = 0.125, kRight = 0.965;
/// Panels are placed in shares of the picture, from the bottom; the legend stands above.
struct Panel {
  double top, bottom;
};

/// Where everything stands, with a panel of circular variance or without.
struct Layout {
  int height;
  Panel loss, accuracy, variance, rate;

  explicit Layout(bool with_variance)
      : height(with_variance ? 2680 : 2000),
        loss(panel(240, 800)),
        accuracy(panel(920, 1480)),
        variance(panel(1600, 2160)),
        rate(with_variance ? panel(2260, 2560) : panel(1580, 1880)) {}

  /// The share of a place so many pixels below the upper edge.
  double at(double pixels) const { return 1.0 - pixels / height; }
  double above(const Panel& of) const { return of.top + 28.0 / height; }

 private:
  Panel panel(double top, double bottom) const { return {at(top), at(bottom)}; }
};

/// A measured quantity: column `index` of the block $metrics.
struct Curve {
  int index;
  const char* colour;
  std::string name;
  Column values;
  bool marker_only = false;

  bool measured() const {
    return std::any_of(values.begin(), values.end(), [](const auto& v) { return v && std::isfinite(*v); });
  }
};

struct Best {
  size_t row = 0;
  double value = 0.0;
};

/// The row with the largest value (or smallest, with sign −1); none in an empty column.
std::optional<Best> best_of(const Column& column, double sign) {
  std::optional<Best> best;
  for (size_t i = 0; i < column.size(); ++i) {
    if (column[i] && std::isfinite(*column[i]) && (!best || sign * *column[i] > sign * best->value)) {
      best = Best{i, *column[i]};
    }
  }
  return best;
}

/// Integer epochs, at most about ten labels.
int tic_step(double epochs) {
  for (const int step : {1, 2, 5, 10, 20, 50, 100, 200, 500}) {
    if (epochs / step <= 10.0) return step;
  }
  return 1000;
}

struct Range {
  double low = 0.0, high = 1.0;
  bool starts_outside = false;  ///< epoch 0 lies beyond it
};

/// Of a panel's curves. What was measured before training (row 0) may lie outside, where it would squeeze all that
/// came after into a corner.
Range range_of(const std::vector<Curve>& curves) {
  double low = std::numeric_limits<double>::infinity(), high = -low, all_low = low, all_high = high;
  size_t rows = 0;
  for (const Curve& curve : curves) {
    rows = std::max(rows, curve.values.size());
    for (size_t i = 0; i < curve.values.size(); ++i) {
      const auto& value = curve.values[i];
      if (!value || !std::isfinite(*value)) continue;
      all_low = std::min(all_low, *value), all_high = std::max(all_high, *value);
      if (i > 0) low = std::min(low, *value), high = std::max(high, *value);
    }
  }
  if (!(all_low <= all_high)) return {};
  const bool cut = rows > 3 && high > low && all_high - all_low > 2.0 * (high - low);
  if (!cut) low = all_low, high = all_high;
  const double margin = high > low ? 0.06 * (high - low) : std::max(0.05 * std::abs(high), 1e-3);
  return {low - margin, high + margin, cut};
}

/// Names in their curves' colours, side by side above a panel: nothing of the curves is covered.
void draw_legend(Figure& figure, double y, const std::vector<Curve>& curves) {
  constexpr double kCharacter = 0.0083;  // mean width of a character of 22 points, measured, in shares of kWidth
  double x = kLeft;
  int tag = 10;
  for (const Curve& curve : curves) {
    if (!curve.measured()) continue;
    const std::string text = fmt::format("{} {}", curve.marker_only ? "▲" : "●", curve.name);
    figure.line(
        fmt::format("set label {} \"{}\" at screen {},{} font ',22' textcolor '{}'", tag++, text, x, y, curve.colour));
    x += kCharacter * static_cast<double>(curve.name.size() + 4);
  }
  for (; tag < 14; ++tag) figure.line(fmt::format("unset label {}", tag));
}

void draw_panel(Figure& figure, const Panel& panel, const char* y_label, const std::vector<Curve>& curves,
                bool points) {
  figure.line(fmt::format("set tmargin at screen {}", panel.top));
  figure.line(fmt::format("set bmargin at screen {}", panel.bottom));
  // At one place in every panel, however wide its numbers are.
  figure.line(fmt::format("set label 3 '{}' at screen 0.028,{} center rotate by 90 textcolor '{}'", y_label,
                          (panel.top + panel.bottom) / 2.0, colour::kText));
  std::string plot;
  for (const Curve& curve : curves) {
    if (!curve.measured()) continue;
    const char* style = curve.marker_only ? "points pointtype 9 pointsize 3 linewidth 1.5"
                        : points          ? "linespoints pointtype 7 pointsize 1.4 linewidth 2.2"
                                          : "lines linewidth 2.2";
    plot += fmt::format("$metrics using 1:{} with {} linecolor '{}' notitle, ", curve.index, style, curve.colour);
  }
  // An empty panel still has its axes.
  figure.line("plot " + plot + "NaN notitle");
}

/// "validation (lowest 0.0665 in epoch 3, 2.303 untrained)"
std::string validation_name(const std::optional<Best>& best, const std::string& best_text, const Column& epoch,
                            const std::string& before) {
  if (!best) return "validation";
  return fmt::format("validation ({} in epoch {:.0f}{})", best_text, epoch[best->row].value_or(0.0),
                     before.empty() ? "" : fmt::format(", {} untrained", before));
}

/// Rates that fall in steps are told apart on a logarithmic axis; a cosine, which ends near zero, on a linear one.
void set_rate_axis(Figure& figure, const Column& rate) {
  std::set<double> distinct;
  for (const auto& value : rate) {
    if (value && *value > 0.0) distinct.insert(*value);
  }
  const double lowest = distinct.empty() ? 1.0 : *distinct.begin(),
               highest = distinct.empty() ? 1.0 : *distinct.rbegin();
  if (highest > 5.0 * lowest && 2 * distinct.size() <= rate.size()) {
    figure.line("set logscale y").line(fmt::format("set yrange [{}:{}]", lowest / 1.6, highest * 1.6));
    figure.line("set format y '10^{%L}'").line("set ytics 10").line("set mytics 10");
  } else {
    figure.line(fmt::format("set yrange [0:{}]", highest * 1.25)).line("set format y '%g'");
  }
}

/// A thin line for every kernel, and their median.
void draw_variance(Figure& figure, const Layout& layout, const Column& epoch, const std::vector<Column>& kernels) {
  constexpr const char* kThin = "#7FA9C9";
  std::vector<Column> rows;
  Column medians;
  for (size_t e = 0; e < epoch.size(); ++e) {
    std::vector<double> measured;
    Column& row = rows.emplace_back(Column{epoch[e]});
    for (const Column& kernel : kernels) {
      row.push_back(kernel[e]);
      if (kernel[e]) measured.push_back(*kernel[e]);
    }
    medians.push_back(measured.empty() ? std::nullopt : std::optional(quantile(std::move(measured), 0.5)));
    row.push_back(medians.back());
  }
  figure.data("variance", rows);
  const std::optional<Best> lowest = best_of(medians, -1.0);
  std::string name = "median";
  if (lowest) name += fmt::format(" (lowest {:.3f} in epoch {:.0f}", lowest->value, epoch[lowest->row].value_or(0.0));
  if (lowest) name += medians[0] ? fmt::format(", {:.3f} untrained)", *medians[0]) : ")";
  const int median = static_cast<int>(kernels.size()) + 2;
  draw_legend(figure, layout.above(layout.variance),
              {{2, kThin, fmt::format("each of the first layer's {} kernels", kernels.size()), {0.0}},
               {median, colour::kText, name, {0.0}}});
  figure.line(fmt::format("set tmargin at screen {}", layout.variance.top))
      .line(fmt::format("set bmargin at screen {}", layout.variance.bottom));
  figure.line(
      fmt::format("set label 3 'Circular variance, pooled' at screen 0.028,{} center rotate by 90 textcolor '{}'",
                  (layout.variance.top + layout.variance.bottom) / 2.0, colour::kText));
  figure.line("set yrange [0:1]").line("set ytics 0.2").line("set format y '%.1f'");
  // A kernel that is measured at one epoch alone would have no line.
  figure.line(
      fmt::format("plot for [i=2:{0}] $variance using 1:i with linespoints pointtype 7 pointsize 0.3 linewidth "
                  "0.6 linecolor '{2}' notitle, $variance using 1:{1} with linespoints pointtype 7 pointsize 1.4 "
                  "linewidth 2.2 linecolor '{3}' notitle",
                  median - 1, median, kThin, colour::kText));
  figure.line("set ytics autofreq").line("set format y '%g'");
}

}  // namespace

void draw_training_metrics(const MetricsTable& metrics, const std::string& title, const std::filesystem::path& png,
                           const std::vector<std::vector<std::optional<double>>>& circular_variance) {
  const auto percent = [&](const char* name) {
    Column values = metrics.column(name);
    for (auto& value : values) {
      if (value) *value *= 100.0;
    }
    return values;
  };
  const Column epoch = metrics.column("epoch"), rate = metrics.column("learning_rate");
  const Column val_loss = metrics.column("val_loss"), val_top1 = percent("val_top1"), test_top1 = percent("test_top1");
  const auto lowest = best_of(val_loss, -1.0), highest = best_of(val_top1, 1.0), test = best_of(test_top1, 1.0);
  const auto named = [](const std::optional<Best>& value, const char* format) {
    return value ? "test, best weights " + fmt::format(fmt::runtime(format), value->value) : "";
  };
  const Column test_loss = metrics.column("test_loss");
  std::vector<Curve> losses = {{2, colour::kBlue, "training", metrics.column("train_loss")},
                               {3, colour::kOrange, "", val_loss},
                               {4, colour::kGreen, named(best_of(test_loss, -1.0), "{:.4f}"), test_loss, true}};
  std::vector<Curve> accuracies = {{5, colour::kBlue, "training", percent("train_top1")},
                                   {6, colour::kOrange, "", val_top1},
                                   {7, colour::kGreen, named(test, "{:.2f} %"), test_top1, true}};
  const Curve rates{8, colour::kPurple, "", rate};

  std::vector<Column> rows;
  double last_epoch = 1.0;
  for (size_t i = 0; i < epoch.size(); ++i) {
    Column& row = rows.emplace_back(Column{epoch[i]});
    for (const auto* panel : {&losses, &accuracies}) {
      for (const Curve& curve : *panel) row.push_back(curve.values[i]);
    }
    row.push_back(rate[i]);
    last_epoch = std::max(last_epoch, epoch[i].value_or(0.0));
  }
  const bool points = last_epoch <= 40.0;

  const Layout layout(!circular_variance.empty());
  Figure figure(kWidth, layout.height);
  figure.data("metrics", rows);
  figure.line("set multiplot").line("unset key");
  figure.line(fmt::format("set lmargin at screen {}", kLeft)).line(fmt::format("set rmargin at screen {}", kRight));
  figure.line(fmt::format("set label 1 {} at screen {},{} font 'DejaVu Sans Bold,30' textcolor '{}'", plain_text(title),
                          kLeft, layout.at(64), colour::kText));
  std::string summary;
  if (highest) summary = fmt::format("best validation accuracy {:.2f} %", highest->value);
  if (test) summary += fmt::format("{}test accuracy {:.2f} %", summary.empty() ? "" : "   ·   ", test->value);
  figure.line(
      fmt::format("set label 2 \"{}\" at screen {},{} textcolor '{}'", summary, kLeft, layout.at(132), colour::kMuted));
  figure.line(fmt::format("set xrange [{}:{}]", -0.02 * last_epoch, 1.02 * last_epoch));
  figure.line(fmt::format("set xtics {}", tic_step(last_epoch)));

  Range range = range_of(losses);
  losses[1].name = validation_name(lowest, lowest ? fmt::format("lowest {:.4f}", lowest->value) : "", epoch,
                                   range.starts_outside && val_loss[0] ? fmt::format("{:.3f}", *val_loss[0]) : "");
  figure.line("set format x ''").line("set format y '%g'");
  figure.line(fmt::format("set yrange [{}:{}]", range.low < 0.4 * range.high ? 0.0 : range.low, range.high));
  draw_legend(figure, layout.above(layout.loss), losses);
  draw_panel(figure, layout.loss, "Loss (mean cross-entropy)", losses, points);
  figure.line("unset label 1").line("unset label 2");

  range = range_of(accuracies);
  accuracies[1].name =
      validation_name(highest, highest ? fmt::format("highest {:.2f} %", highest->value) : "", epoch,
                      range.starts_outside && val_top1[0] ? fmt::format("{:.1f} %", *val_top1[0]) : "");
  figure.line(fmt::format("set yrange [{}:{}]", std::max(0.0, range.low), std::min(100.0, range.high)));
  draw_legend(figure, layout.above(layout.accuracy), accuracies);
  draw_panel(figure, layout.accuracy, "Accuracy (%)", accuracies, points);

  if (!circular_variance.empty()) draw_variance(figure, layout, epoch, circular_variance);
  draw_legend(figure, 0.0, {});
  set_rate_axis(figure, rate);
  figure.line("set format x '%.0f'");
  figure.line(fmt::format("set xlabel 'Epoch' offset 0,0.3 textcolor '{}'", colour::kText));
  draw_panel(figure, layout.rate, "Learning rate", {rates}, points);
  figure.line("unset multiplot");
  figure.save(png);
}

TrainingFigure::TrainingFigure(std::filesystem::path metrics, std::filesystem::path png, std::string title)
    : metrics_(std::move(metrics)), png_(std::move(png)), title_(std::move(title)) {}

void TrainingFigure::epoch_done(const EpochRecord& /*epoch*/) {
  // A picture takes about a third of a second: short epochs share one.
  if (std::chrono::steady_clock::now() < next_) return;
  draw();
  next_ = std::chrono::steady_clock::now() + std::chrono::seconds(10);
}

void TrainingFigure::run_ends(const TrainResult& /*result*/) { draw(); }

void TrainingFigure::draw() {
  try {
    const MetricsTable metrics = MetricsTable::read(metrics_);
    draw_training_metrics(metrics, title_, png_,
                          read_circular_variance(metrics_.parent_path(), metrics.column("epoch")));
  } catch (const Error& error) {
    if (!warned_ && warn_) warn_(error.what());
    warned_ = true;
  }
}

}  // namespace striate
