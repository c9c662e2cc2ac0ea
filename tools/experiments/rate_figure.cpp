#include "tools/experiments/rate_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "tools/experiments/figure.h"

namespace striate {

void draw_rate_search(const RateSearch& search, const std::string& title, const std::filesystem::path& file) {
  require<Error>(!search.trials.empty(), "learning rate finder: there is no step to draw");
  std::vector<std::vector<std::optional<double>>> rows;
  double low = HUGE_VAL, first = search.trials.front().smoothed, at_suggestion = 0.0;
  for (const RateTrial& trial : search.trials) {
    rows.push_back({trial.rate, trial.loss, trial.smoothed});
    low = std::min({low, trial.smoothed, trial.loss});
    first = std::max(first, trial.loss * (trial.rate <= search.lowest.value_or(HUGE_VAL) ? 1.0 : 0.0));
    if (search.suggestion && trial.rate <= *search.suggestion) at_suggestion = trial.smoothed;
  }
  // What comes after the loss has left would squeeze the rest into a corner.
  const double high = first + 0.6 * std::max(first - low, 0.1 * std::abs(first));

  Figure figure(1800, 1100);
  figure.data("trials", rows);
  figure.line(fmt::format("set label 1 {} at screen 0.075,0.955 font 'DejaVu Sans Bold,30' textcolor '{}'",
                          plain_text(title), colour::kText));
  std::string summary = "the loss never falls: there is nothing to suggest";
  if (search.suggestion) {
    summary = fmt::format("steepest descent at {:.2g}, lowest at {:.2g}", *search.suggestion, *search.lowest);
  }
  figure.line(fmt::format("set label 2 '{}' at screen 0.075,0.9 textcolor '{}'", summary, colour::kMuted));
  figure.line("set lmargin at screen 0.09").line("set rmargin at screen 0.97");
  figure.line("set tmargin at screen 0.84").line("set bmargin at screen 0.13");
  figure.line("set logscale x").line("set format x '10^{%L}'").line("set mxtics 10");
  figure.line(fmt::format("set xrange [{}:{}]", search.trials.front().rate / 1.1, search.trials.back().rate * 1.1));
  figure.line(fmt::format("set yrange [{}:{}]", std::min(low, low - 0.05 * (high - low)), high));
  figure.line(fmt::format("set xlabel 'Learning rate of the step' textcolor '{}'", colour::kText));
  figure.line(fmt::format("set ylabel 'Loss (mean cross-entropy)' textcolor '{}'", colour::kText));
  figure.line("set key at graph 0.02,0.12 left bottom Left reverse samplen 2.5 spacing 1.3");
  std::string marked;
  if (search.suggestion) {
    figure.data("suggested", {{*search.suggestion, at_suggestion}});
    figure.line(
        fmt::format("set arrow 1 from {0},graph 0 to {0},graph 1 nohead linecolor '{1}' linewidth 1.2 dashtype 2",
                    *search.suggestion, colour::kOrange));
    marked = fmt::format(
        ", $suggested using 1:2 with points pointtype 7 pointsize 3 linecolor '{}' title 'suggestion, {:.2g}'",
        colour::kOrange, *search.suggestion);
  }
  figure.line(
      fmt::format("plot $trials using 1:2 with points pointtype 7 pointsize 0.8 linecolor '{}' title 'each step', "
                  "$trials using 1:3 with lines linewidth 2.5 linecolor '{}' title 'smoothed'{}",
                  "#9CC7E3", colour::kBlue, marked));
  figure.save(file);
}

void write_rate_search(const RateSearch& search, const std::filesystem::path& csv) {
  std::string text = "step,learning_rate,loss,smoothed_loss\n";
  for (size_t i = 0; i < search.trials.size(); ++i) {
    const RateTrial& trial = search.trials[i];
    text += fmt::format("{},{:.9g},{:.9g},{:.9g}\n", i + 1, trial.rate, trial.loss, trial.smoothed);
  }
  write_file_atomically(csv.string(), text);
}

}  // namespace striate
