#include "tools/experiments/training_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/error.h"
#include "tools/experiments/figure.h"

namespace striate {
namespace {

using Column = std::vector<std::optional<double>>;

constexpr int kWidth = 1800, kHeight = 2000;
/// Panels are placed in shares of the picture, from the top: loss, accuracy, learning rate.
struct Panel {
  double top, bottom;
};
constexpr Panel kLoss{0.905, 0.605}, kAccuracy{0.565, 0.265}, kRate{0.225, 0.065};

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

std::optional<double> last_of(const Column& column) {
  for (auto it = column.rbegin(); it != column.rend(); ++it) {
    if (*it) return *it;
  }
  return std::nullopt;
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
Range range_of(const std::vector<const Column*>& curves) {
  double low = std::numeric_limits<double>::infinity(), high = -low, all_low = low, all_high = high;
  size_t rows = 0;
  for (const Column* curve : curves) {
    rows = std::max(rows, curve->size());
    for (size_t i = 0; i < curve->size(); ++i) {
      const auto& value = (*curve)[i];
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

void place(Figure& figure, const Panel& panel, const char* y_label, bool bottom) {
  figure.line(fmt::format("set tmargin at screen {}", panel.top));
  figure.line(fmt::format("set bmargin at screen {}", panel.bottom));
  // At one place in every panel, however wide its numbers are.
  figure.line(fmt::format("set label 3 '{}' at screen 0.028,{} center rotate by 90 textcolor '{}'", y_label,
                          (panel.top + panel.bottom) / 2.0, colour::kText));
  figure.line(bottom ? "set format x '%.0f'" : "set format x ''");
  figure.line(bottom ? fmt::format("set xlabel 'Epoch' offset 0,0.3 textcolor '{}'", colour::kText) : "unset xlabel");
}

/// One curve of block $metrics, or nothing where its column is empty.
std::string curve(const Column& values, int column, const char* line_colour, const std::string& title, bool points) {
  if (std::none_of(values.begin(), values.end(), [](const auto& v) { return v && std::isfinite(*v); })) return "";
  return fmt::format("$metrics using 1:{} with {} linecolor '{}' linewidth 2.2 title \"{}\", ", column,
                     points ? "linespoints pointtype 7 pointsize 1.4" : "lines", line_colour, title);
}

std::string marker(const Column& values, int column, const std::string& title) {
  if (!last_of(values)) return "";
  return fmt::format(
      "$metrics using 1:{} with points pointtype 9 pointsize 3 linewidth 1.5 linecolor '{}' title \"{}\", ", column,
      colour::kGreen, title);
}

}  // namespace

void draw_training_metrics(const MetricsTable& metrics, const std::string& title, const std::filesystem::path& png) {
  const Column epoch = metrics.column("epoch"), rate = metrics.column("learning_rate");
  const Column train_loss = metrics.column("train_loss"), val_loss = metrics.column("val_loss"),
               test_loss = metrics.column("test_loss");
  const Column train_top1 = metrics.column("train_top1"), val_top1 = metrics.column("val_top1"),
               test_top1 = metrics.column("test_top1");
  const auto percent = [](const std::optional<double>& v) { return v ? std::optional(*v * 100.0) : std::nullopt; };
  std::vector<Column> rows;
  double last_epoch = 1.0;
  double lowest_rate = std::numeric_limits<double>::infinity(), highest_rate = 0.0;
  for (size_t i = 0; i < epoch.size(); ++i) {
    rows.push_back({epoch[i], train_loss[i], val_loss[i], test_loss[i], percent(train_top1[i]), percent(val_top1[i]),
                    percent(test_top1[i]), rate[i]});
    last_epoch = std::max(last_epoch, epoch[i].value_or(0.0));
    if (rate[i] && *rate[i] > 0.0) {
      lowest_rate = std::min(lowest_rate, *rate[i]);
      highest_rate = std::max(highest_rate, *rate[i]);
    }
  }
  const bool points = last_epoch <= 40.0;
  const auto epoch_of = [&](const Best& best) { return epoch[best.row].value_or(0.0); };

  Figure figure(kWidth, kHeight);
  figure.data("metrics", rows);
  figure.line("set multiplot");
  figure.line("set lmargin at screen 0.125").line("set rmargin at screen 0.965");
  figure.line(fmt::format("set label 1 {} at screen 0.125,0.967 font 'DejaVu Sans Bold,30' textcolor '{}'",
                          plain_text(title), colour::kText));
  const auto best_loss = best_of(val_loss, -1.0), best_top1 = best_of(val_top1, 1.0);
  std::string summary;
  if (best_top1) {
    summary = fmt::format("best validation accuracy {:.2f} % in epoch {:.0f}", best_top1->value * 100.0,
                          epoch_of(*best_top1));
  }
  if (const auto test = last_of(test_top1)) {
    summary += fmt::format("{}test accuracy {:.2f} %", summary.empty() ? "" : "   ·   ", *test * 100.0);
  }
  figure.line(fmt::format("set label 2 \"{}\" at screen 0.125,0.933 textcolor '{}'", summary, colour::kMuted));
  figure.line(fmt::format("set xrange [{}:{}]", -0.02 * last_epoch, 1.02 * last_epoch));
  figure.line(fmt::format("set xtics {}", tic_step(last_epoch)));
  figure.line(fmt::format("set key opaque Left reverse samplen 1.6 spacing 1.2 textcolor '{}'", colour::kText));

  place(figure, kLoss, "Loss (mean cross-entropy)", false);
  Range range = range_of({&train_loss, &val_loss, &test_loss});
  figure.line("set key top right").line("set format y '%g'");
  figure.line(fmt::format("set yrange [{}:{}]", range.low < 0.4 * range.high ? 0.0 : range.low, range.high));
  std::string note;
  if (best_loss) note = fmt::format("  (lowest {:.4f}, epoch {:.0f})", best_loss->value, epoch_of(*best_loss));
  if (range.starts_outside && val_loss[0]) note += fmt::format(", before training {:.3f}", *val_loss[0]);
  std::string plot = curve(train_loss, 2, colour::kBlue, "training", points) +
                     curve(val_loss, 3, colour::kOrange, "validation" + note, points) +
                     marker(test_loss, 4, "test, best weights");
  if (!plot.empty()) figure.line("plot " + plot + "NaN notitle");
  figure.line("unset label 1").line("unset label 2");

  place(figure, kAccuracy, "Accuracy (%)", false);
  range = range_of({&train_top1, &val_top1, &test_top1});
  figure.line("set key bottom right");
  figure.line(fmt::format("set yrange [{}:{}]", std::max(0.0, 100.0 * range.low), std::min(100.0, 100.0 * range.high)));
  note.clear();
  if (best_top1)
    note = fmt::format("  (highest {:.2f} %, epoch {:.0f})", best_top1->value * 100.0, epoch_of(*best_top1));
  if (range.starts_outside && val_top1[0]) note += fmt::format(", before training {:.1f} %", *val_top1[0] * 100.0);
  plot = curve(train_top1, 5, colour::kBlue, "training", points) +
         curve(val_top1, 6, colour::kOrange, "validation" + note, points) + marker(test_top1, 7, "test, best weights");
  if (!plot.empty()) figure.line("plot " + plot + "NaN notitle");

  place(figure, kRate, "Learning rate", true);
  figure.line("unset key");
  if (highest_rate > 0.0 && highest_rate > 5.0 * lowest_rate) {
    figure.line("set logscale y").line(fmt::format("set yrange [{}:{}]", lowest_rate / 1.6, highest_rate * 1.6));
    figure.line("set format y '10^{%L}'").line("set ytics 10").line("set mytics 10");
  } else {
    figure.line(fmt::format("set yrange [0:{}]", highest_rate > 0.0 ? highest_rate * 1.25 : 1.0));
    figure.line("set ytics autofreq").line("set format y '%g'");
  }
  if (last_of(rate)) {
    figure.line(fmt::format("plot $metrics using 1:8 with {} linecolor '{}' linewidth 2.2 notitle",
                            points ? "linespoints pointtype 7 pointsize 1.4" : "lines", colour::kPurple));
  }
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
    draw_training_metrics(MetricsTable::read(metrics_), title_, png_);
  } catch (const Error& error) {
    if (!warned_ && warn_) warn_(error.what());
    warned_ = true;
  }
}

}  // namespace striate
