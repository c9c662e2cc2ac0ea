#include "tools/experiments/imagine.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/train/interrupt.h"
#include "kernels/error.h"
#include "tools/experiments/image_grid.h"
#include "tools/experiments/number_text.h"
#include "tools/progress_line.h"
#include "tools/standalone_network.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {
namespace {

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::string layer, labels, target = "channel", output;
  int64_t unit = 0, count = 0, steps = 256, jitter = -1, seed = 0;
  ImagineOptions options;
};

void declare(CommandLine& command_line, Flags& flags) {
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line
      .option("--layer", flags.layer, "NAME",
              "A layer (inspect lists them), before the activation that follows (default: the classes)")
      .option("--unit", flags.unit, "K", "Unit or class K alone, counted from 0")
      .option("--count", flags.count, "N", "The first N units or classes (default: all, at most 20)")
      .option("--target", flags.target, "WHAT",
              "Of a unit's map: channel, its mean (default), or centre, the value in the middle")
      .option("--labels", flags.labels, "F", "Names of the classes: one a line, or JSON (default: the run's)")
      .option("--steps", flags.steps, "N", "Steps of gradient ascent (default 256)")
      .option("--rate", flags.options.rate, "R", "Mean change of a pixel in a step, in deviations (default 0.05)")
      .option("--decay", flags.options.decay, "D", "Pull towards mid-grey in a step (L2 penalty; default 0.01)")
      .option("--blur", flags.options.blur, "S", "Gaussian blur every fourth step, in pixels (default 0.5; 0: none)")
      .option("--jitter", flags.jitter, "N",
              "Most pixels that a step shifts the image by (default 2; for --target centre 0)")
      .option("--seed", flags.seed, "N", "Of the noise in the first image and of the shifts (default 0)")
      .option("--output", flags.output, "F", "PNG or SVG (default imagine_LAYER.png, in the run's folder or here)");
}

}  // namespace

int imagine(int argc, const char* const* argv) {
  CommandLine command_line(
      "Draws the pictures that units of a layer, or the classes, respond to most: gradient ascent on the image from "
      "mid-grey noise, kept smooth by a pull towards grey, a blur and small shifts.",
      {"--run runs/quickstart", "--run runs/quickstart --layer features.0 --target centre",
       "--model alexnet --weights alexnet.safetensors --labels imagenet_classes.txt --unit 207 --steps 512 --blur 1",
       "--run runs/quickstart --layer features.3 --count 12 --decay 0 --jitter 4 --output conv2.svg"});
  Flags flags;
  declare(command_line, flags);
  if (!command_line.parse(argc, argv)) return kDone;
  ImagineOptions options = flags.options;
  options.target = parse_imagine_target(flags.target);
  require_between("--steps", flags.steps, 0, 1'000'000);
  require_between("--jitter", flags.jitter, -1, 1'000);
  require_between("--seed", flags.seed, 0, INT64_MAX);
  options.steps = static_cast<int>(flags.steps);
  options.jitter = static_cast<int>(flags.jitter);
  options.seed = static_cast<uint64_t>(flags.seed);

  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::not_needed);
  const StandaloneNetwork network = open_network(source, flags.labels);
  if (!network.notice.empty()) fmt::print("{}\n", network.notice);
  const TestView& view = network.view;
  const NetworkInput input{view.height, view.width, view.channels, view.normalization.subtracted(),
                           view.normalization.std};
  const int64_t available = unit_count(*network.model, flags.layer, input, source.config.device);
  std::vector<int64_t> units;
  if (command_line.given("--unit")) {
    units.push_back(flags.unit);
  } else {
    if (command_line.given("--count")) require_between("--count", flags.count, 1, 1000);
    units.resize(static_cast<size_t>(std::min(available, flags.count > 0 ? flags.count : 20)));
    std::iota(units.begin(), units.end(), int64_t{0});
  }
  const bool classes = flags.layer.empty();
  const auto file = figure_file(flags.output, source.run,
                                classes ? "imagine_classes.png" : fmt::format("imagine_{}.png", flags.layer));

  const InterruptGuard guard;
  const auto progress = progress_line("imagining");
  options.progress = [&](int done, int total) { return progress(done, total); };
  const auto imagined = striate::imagine(*network.model, flags.layer, units, input, source.config.device, options);
  if (InterruptGuard::requested()) return kInterrupted;
  std::vector<GridCell> cells;
  for (const Imagined& one : imagined) {
    const std::string name = classes ? network.class_names[static_cast<size_t>(one.unit)] : std::to_string(one.unit);
    cells.push_back({one.image,
                     {{classes ? "" : "unit ", name, "", colour::kText},
                      {"", fmt::format("{:.3g} → {:.3g}", one.before, one.after), "", colour::kMuted}}});
  }
  const std::string what = classes                                   ? "logit"
                           : options.target == ImagineTarget::centre ? "response at the map's centre"
                                                                     : "mean response over the map";
  const std::string weights =
      source.weights.empty() ? "freshly initialised weights" : source.weights.filename().string();
  draw_image_grid(
      cells,
      {fmt::format("{}: what {} respond{} to most", source.config.model_name(),
                   classes ? (units.size() == 1 ? "the class" : "the classes")
                           : fmt::format("{} of {}", units.size() == 1 ? "a unit" : "the units", flags.layer),
                   units.size() == 1 ? "s" : ""),
       fmt::format(
           "{} of {}; below each its {} for grey noise and for this image; {} steps, decay {:g}, blur {:g} px; {}",
           cells.size(), grouped(available), what, options.steps, options.decay, options.blur, weights)},
      file);
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
