#include <fmt/format.h>

#include "kernels/error.h"
#include "tools/experiments/compare_figure.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {

int compare(int argc, const char* const* argv) {
  CommandLine command_line("Draws the losses, accuracies and times per epoch of any runs on one plot.",
                           {"--runs runs/a runs/b", "--runs runs/lr-* --title 'Learning rates' --output rates.svg"});
  std::vector<std::string> runs;
  std::string title, output;
  command_line.list("--runs", runs, "DIR...", "Folders that train has left")
      .option("--title", title, "TEXT", "Of the figure (default: how many runs)")
      .option("--output", output, "F", "PNG or SVG (default comparison.png, beside the first run)");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(!runs.empty(), "--runs DIR... is missing: at least one run is needed");

  std::vector<std::filesystem::path> folders(runs.begin(), runs.end());
  const std::vector<std::string> names = distinct_names(folders);
  std::vector<NamedMetrics> named;
  for (size_t i = 0; i < folders.size(); ++i) {
    named.emplace_back(names[i], MetricsTable::read(RunFolder::existing(folders[i]).metrics()));
  }
  if (title.empty()) title = runs.size() == 1 ? names.front() : fmt::format("{} runs", runs.size());
  std::filesystem::path beside = folders.front().lexically_normal();
  if (!beside.has_filename()) beside = beside.parent_path();
  const auto file =
      figure_file(output.empty() ? (beside.parent_path() / "comparison.png").string() : output, {}, "comparison.png");
  draw_run_comparison(named, title, file);
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
