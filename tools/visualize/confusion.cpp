#include <fmt/format.h>

#include "engine/train/evaluate.h"
#include "engine/train/interrupt.h"
#include "tools/experiments/confusion_figure.h"
#include "tools/progress_line.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/image_source.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {

int confusion(int argc, const char* const* argv) {
  CommandLine command_line("Draws which class is taken for which, as shares of the true class's images.",
                           {"--run runs/quickstart", "--run runs/quickstart --split val --output confusion.svg"});
  ImageFlags flags;
  std::string output;
  flags.add_to(command_line, false);
  command_line.option("--output", output, "F", "PNG or SVG (default confusion_PART.png, in the run's folder or here)");
  if (!command_line.parse(argc, argv)) return kDone;

  ImageSource source(flags);
  source.require_labels();
  const auto file = figure_file(output, source.network().run, fmt::format("confusion_{}.png", flags.split));
  EvaluateOptions options;
  const InterruptGuard guard;
  options.progress = progress_line("evaluating");
  const Evaluation result = evaluate(source.model(), source.loader(), source.device(), options);
  if (InterruptGuard::requested()) return kInterrupted;
  draw_confusion(result.confusion, source.class_names(), source.title(), file);
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
