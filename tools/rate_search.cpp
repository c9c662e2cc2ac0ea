#include "tools/rate_search.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "engine/train/learning_rate_finder.h"
#include "kernels/error.h"
#include "tools/command_line.h"
#include "tools/experiments/figure.h"
#include "tools/experiments/rate_figure.h"

namespace striate {
namespace {

/// A line that a terminal overwrites, and one line in twenty elsewhere.
void show(const RateTrial& trial, int64_t step, int64_t steps) {
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  if (!terminal && step % 20 != 0) return;
  fmt::print("{}step {} of {}  learning rate {:.2e}  loss {:.4f}{}", terminal ? "\r\x1b[K" : "", step, steps,
             trial.rate, trial.loss, terminal ? "" : "\n");
  std::fflush(stdout);
}

}  // namespace

int search_rate(Experiment& experiment, const TrainOptions& options, const std::filesystem::path& folder) {
  const RateFinderOptions finder;
  const RateSearch search =
      find_learning_rate(experiment.model(), *experiment.train_data().train, options, finder,
                         [&](const RateTrial& trial, int64_t step) { show(trial, step, finder.steps); });
  if (isatty(STDOUT_FILENO) != 0) fmt::print("\r\x1b[K");
  if (search.interrupted) {
    fmt::print("Interrupted: nothing is written.\n");
    return kInterrupted;
  }
  require<Error>(!search.trials.empty(), "learning rate finder: the loss is not finite at the first step already");

  const std::filesystem::path csv = folder / "learning_rate_finder.csv", png = folder / "learning_rate_finder.png";
  write_rate_search(search, csv);
  const RateTrial& last = search.trials.back();
  fmt::print("{} steps from learning rate {:.0e} to {:.2e}{}\n", search.trials.size(), finder.from, last.rate,
             search.diverged ? ", where the loss diverges" : "");
  if (search.suggestion) {
    fmt::print("Suggested learning rate: {:.2g}, where the smoothed loss falls steepest; it is lowest at {:.2g}\n",
               *search.suggestion, *search.lowest);
    fmt::print("Try it with --set train.learning_rate={:.2g}\n", *search.suggestion);
  } else {
    fmt::print("No suggestion: the loss never falls.\n");
  }
  fmt::print("Numbers  {}\n", csv.string());
  if (gnuplot_available()) {
    draw_rate_search(search, "Learning-rate search: " + experiment.title(), png);
    fmt::print("Figure   {}\n", png.string());
  } else {
    fmt::print("No figure: {}\n", kGnuplotMissing);
  }
  return kDone;
}

}  // namespace striate
