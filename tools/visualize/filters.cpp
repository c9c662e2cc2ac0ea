#include <fmt/format.h>

#include "kernels/error.h"
#include "models/registry.h"
#include "models/weights/weights.h"
#include "tools/experiments/filter_images.h"
#include "tools/experiments/image_grid.h"
#include "tools/experiments/layer_responses.h"
#include "tools/experiments/number_text.h"
#include "tools/network_flags.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {
namespace {

/// The network's layers and weights; its dataset's files are not needed.
std::shared_ptr<nn::Module> build(const NetworkSource& source) {
  const RunConfig& config = source.config;
  const NetworkSizes sizes = source.sizes();
  const Shape input = models::resolve_input(config.model, sizes.input);
  if (source.weights.empty()) return models::build_model(config.model, input, sizes.classes, config.seed);
  auto model = models::make_model(config.model, input, sizes.classes);
  models::load_weights(source.weights.string(), *model, input);
  return model;
}

std::string weights_of(const NetworkSource& source) {
  if (source.weights.empty()) return "untrained";
  return source.run ? fmt::format("{} of {}", source.weights.stem().string(), source.run->path().filename().string())
                    : source.weights.filename().string();
}

}  // namespace

int filters(int argc, const char* const* argv) {
  CommandLine command_line(
      "Draws the kernels of a convolution as pictures: three channels in colour, one in grey, "
      "more as a mosaic of slices. Grey is zero.",
      {"--run runs/quickstart", "--run runs/quickstart --layer features.3 --count 24 --columns 8",
       "--model alexnet --weights alexnet.safetensors --normalize layer --output conv1.svg"});
  CommonFlags common;
  NetworkFlags network;
  std::string layer, normalize = "kernel", output;
  int64_t count = 0, unit = -1, columns = 0;
  common.add_to(command_line);
  network.add_to(command_line);
  command_line.option("--layer", layer, "NAME", "A convolution (default: the first); inspect lists the layers")
      .option("--count", count, "N", "The first N kernels (default: all, at most 200)")
      .option("--unit", unit, "K", "Kernel K alone, counted from 0")
      .option("--columns", columns, "N", "Kernels a row (default: as many as make a good page)")
      .option("--normalize", normalize, "BY", "kernel: each by its own largest weight (default); layer: all by one")
      .option("--output", output, "F", "PNG or SVG (default filters_LAYER.png, in the run's folder or here)");
  if (!command_line.parse(argc, argv)) return kDone;
  const FilterScale scale = parse_filter_scale(normalize);
  if (command_line.given("--columns")) require_between("--columns", columns, 1, 200);
  if (command_line.given("--count")) require_between("--count", count, 1, 100000);

  const NetworkSource source = network.resolve(common, NetworkFlags::Data::not_needed);
  const auto model = build(source);
  const ConvLayer found = find_conv(*model, layer);
  const int64_t kernels = found.conv->weight.dim(0);
  if (command_line.given("--unit")) {
    require<ConfigError>(unit >= 0 && unit < kernels, "--unit {}: {} has kernels 0 to {}", unit, found.name,
                         kernels - 1);
  }
  const auto file = figure_file(output, source.run, fmt::format("filters_{}.png", found.name));
  const int64_t shown = count > 0 ? std::min(count, kernels) : std::min<int64_t>(200, kernels);
  std::string title = fmt::format("{} of {}, {}", found.name, source.config.model_name(), weights_of(source));
  if (command_line.given("--unit")) {
    const std::vector<Image> images = filter_images(found.conv->weight, scale);
    draw_image_grid({{images[static_cast<size_t>(unit)], {{"kernel ", std::to_string(unit), "", colour::kMuted}}}},
                    {title, describe_filters(found.conv->weight, scale)}, file);
  } else {
    if (shown < kernels) title += fmt::format(": the first {} of {} kernels", shown, grouped(kernels));
    draw_filters(found.conv->weight, title, file, scale, shown, static_cast<int>(columns));
  }
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
