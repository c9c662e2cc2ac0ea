#include <fmt/format.h>

#include <cmath>

#include "engine/autograd.h"
#include "engine/ops/ops.h"
#include "engine/train/interrupt.h"
#include "kernels/error.h"
#include "tools/experiments/image_grid.h"
#include "tools/experiments/number_text.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/image_source.h"
#include "tools/visualize/judge.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {
namespace {

/// 97.3 %, and never 100.0 % where something is left.
std::string percent(double probability) {
  const double value = 100.0 * probability;
  return value > 99.9 && value < 100.0 ? "> 99.9 %"
         : value > 0.0 && value < 0.1  ? "< 0.1 %"
                                       : fmt::format("{:.1f} %", value);
}

}  // namespace

int predictions(int argc, const char* const* argv) {
  CommandLine command_line(
      "Draws pictures with their predicted and true classes; wrong ones are marked by an orange "
      "frame and ✗.",
      {"--run runs/quickstart", "--run runs/quickstart --split val --count 40 --seed 3",
       "--model alexnet --weights alexnet.safetensors --images photos/ --output photos.png"});
  ImageFlags flags;
  std::string output;
  int64_t count = 20;
  flags.add_to(command_line, true);
  command_line.option("--count", count, "N", "Pictures (default 20)")
      .option("--output", output, "F", "PNG or SVG (default predictions_PART.png, in the run's folder or here)");
  if (!command_line.parse(argc, argv)) return kDone;
  require_between("--count", count, 1, 1000);

  ImageSource source(flags);
  const auto file =
      figure_file(output, source.network().run,
                  flags.images.empty() ? fmt::format("predictions_{}.png", flags.split) : "predictions.png");
  const Selection selection = source.choose(count);
  const NoGradGuard no_grad;
  const Tensor probabilities = ops::softmax(source.model()(selection.input.to(source.device()))).to(Device::cpu);
  std::vector<GridCell> cells;
  size_t right = 0;
  for (size_t n = 0; n < selection.pictures.size(); ++n) {
    const Highest guess =
        highest_of(probabilities.data<float>() + static_cast<int64_t>(n) * source.classes(), source.classes());
    const bool broken = std::isnan(guess.value);
    const std::string predicted = broken ? "not a number" : source.class_names()[guess.place];
    GridCell cell{selection.pictures[n], {{"", predicted, "", colour::kText}}};
    if (source.labelled()) {
      const auto truth = static_cast<size_t>(selection.labels[n]);
      cell.mark = !broken && guess.place == truth ? Mark::right : Mark::wrong;
      right += cell.mark == Mark::right ? 1 : 0;
      cell.captions.push_back({"true: ", source.class_names()[truth], "", colour::kText});
    }
    cell.captions.push_back({"", broken ? "–" : percent(guess.value), "", colour::kMuted});
    if (!source.labelled()) cell.captions.push_back({"", selection.names[n], "", colour::kMuted});
    cells.push_back(std::move(cell));
  }
  std::string below = source.labelled()
                          ? fmt::format(
                                "{} of {} images, {} of them right; predicted class, true class, "
                                "probability of the predicted one; {}",
                                cells.size(), grouped(source.images()), right, source.weights_text())
                          : fmt::format("predicted class, its probability, the image; {}", source.weights_text());
  draw_image_grid(cells, {source.title() + ": predictions", below}, file);
  say_written(file);
  return kDone;
}

int errors(int argc, const char* const* argv) {
  CommandLine command_line(
      "Draws the pictures of a part of the dataset that the network got wrong and was surest of, "
      "surest first.",
      {"--run runs/quickstart", "--run runs/quickstart --split val --count 50 --output worst.svg"});
  ImageFlags flags;
  std::string output;
  int64_t count = 20;
  flags.add_to(command_line, false);
  command_line.option("--count", count, "N", "Pictures (default 20)")
      .option("--output", output, "F", "PNG or SVG (default errors_PART.png, in the run's folder or here)");
  if (!command_line.parse(argc, argv)) return kDone;
  require_between("--count", count, 1, 1000);

  ImageSource source(flags);
  source.require_labels();
  const auto file = figure_file(output, source.network().run, fmt::format("errors_{}.png", flags.split));
  const InterruptGuard guard;
  const std::optional<Judgements> judged = judge_all(source, "looking for errors");
  if (!judged) return kInterrupted;
  require<Error>(!judged->wrong.empty(), "{}: no image is wrong; there is nothing to draw", source.title());
  std::vector<GridCell> cells;
  for (const Judgement& mistake : judged->wrong) {
    if (static_cast<int64_t>(cells.size()) == count) break;
    cells.push_back(
        {source.picture(mistake.place),
         {{"", source.class_names()[mistake.predicted], "", colour::kOrange},
          {"true: ", source.class_names()[mistake.truth], "", colour::kText},
          {"", fmt::format("{} / {}", percent(mistake.probability), percent(mistake.of_truth)), "", colour::kMuted}},
         Mark::wrong});
  }
  draw_image_grid(cells,
                  {source.title() + ": the most confident errors",
                   fmt::format("{} of {} wrong among {} images ({:.2f} % right); predicted and true class with their "
                               "probabilities; {}",
                               cells.size(), grouped(std::ssize(judged->wrong)), grouped(judged->evaluation.images),
                               100.0 * judged->evaluation.top1, source.weights_text())},
                  file);
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
