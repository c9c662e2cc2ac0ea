#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/autograd.h"
#include "kernels/error.h"
#include "tools/experiments/filter_images.h"
#include "tools/experiments/image_grid.h"
#include "tools/experiments/layer_responses.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/image_source.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {
namespace {

/// Keeps what one layer gives.
class LayerOutput : public nn::ForwardObserver {
 public:
  explicit LayerOutput(const nn::Module& module) : module_(&module) {}
  void observe(nn::Module& module, const Tensor&, const Tensor& output) override {
    if (&module == module_) output_ = output;
  }
  const Tensor& output() const { return output_; }

 private:
  const nn::Module* module_;
  Tensor output_;
};

/// A kernel's map of one image: 128 where the response is zero, 1 or 255 where its magnitude is largest.
Image map_image(const Tensor& maps, int64_t image, int64_t kernel) {
  const int64_t rows = maps.dim(1), columns = maps.dim(2), kernels = maps.dim(3);
  const float* values = maps.data<float>() + image * rows * columns * kernels + kernel;
  float most = 0.0f;
  for (int64_t i = 0; i < rows * columns; ++i) {
    if (std::isfinite(values[i * kernels])) most = std::max(most, std::abs(values[i * kernels]));
  }
  Image picture;
  picture.reshape(static_cast<int>(rows), static_cast<int>(columns), 1);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const float value = values[i * kernels];
    const float share = most > 0.0f && std::isfinite(value) ? value / most : 0.0f;
    picture.pixels[static_cast<size_t>(i)] = static_cast<uint8_t>(std::lround(128.0f + 127.0f * share));
  }
  return picture;
}

}  // namespace

int filtered(int argc, const char* const* argv) {
  CommandLine command_line(
      "Draws pictures and what a convolution's kernels make of them, before any activation: a "
      "column a kernel, a row a picture.",
      {"--run runs/quickstart", "--run runs/quickstart --kernels 12 --count 3 --split val",
       "--run runs/quickstart --images boot.png shirt.png --output filtered.svg"});
  ImageFlags flags;
  std::string layer, output;
  int64_t count = 5, kernels = 8, unit = -1;
  flags.add_to(command_line, true);
  command_line.option("--layer", layer, "NAME", "A convolution (default: the first); inspect lists the layers")
      .option("--count", count, "N", "Pictures (default 5)")
      .option("--kernels", kernels, "N", "The first N kernels (default 8)")
      .option("--unit", unit, "K", "Kernel K alone, counted from 0")
      .option("--output", output, "F", "PNG or SVG (default filtered_LAYER.png, in the run's folder or here)");
  if (!command_line.parse(argc, argv)) return kDone;
  require_between("--count", count, 1, 200);
  require_between("--kernels", kernels, 1, 64);

  ImageSource source(flags);
  const ConvLayer found = find_conv(source.model(), layer);
  const int64_t available = found.conv->weight.dim(0);
  std::vector<int64_t> shown;
  if (command_line.given("--unit")) {
    require<ConfigError>(unit >= 0 && unit < available, "--unit {}: {} has kernels 0 to {}", unit, found.name,
                         available - 1);
    shown.push_back(unit);
  } else {
    for (int64_t k = 0; k < std::min(kernels, available); ++k) shown.push_back(k);
  }
  const auto file = figure_file(output, source.network().run, fmt::format("filtered_{}.png", found.name));
  const Selection selection = source.choose(count);
  LayerOutput capture(*found.conv);
  {
    const NoGradGuard no_grad;
    const nn::ObserverGuard guard(capture);
    source.model()(selection.input.to(source.device()));
  }
  require<Error>(capture.output().defined(), "--layer {}: it takes no part in the network's forward", found.name);
  const Tensor maps = capture.output().to(DType::float32).to(Device::cpu);

  // The kernels stand above their columns; a picture stands before its row.
  std::vector<GridCell> cells = {{}};
  const std::vector<Image> pictures = filter_images(found.conv->weight);
  for (const int64_t k : shown) {
    cells.push_back({pictures[static_cast<size_t>(k)], {{"kernel ", std::to_string(k), "", colour::kMuted}}});
  }
  for (size_t n = 0; n < selection.pictures.size(); ++n) {
    const std::string& name =
        selection.labels[n] < 0 ? selection.names[n] : source.class_names()[static_cast<size_t>(selection.labels[n])];
    cells.push_back({selection.pictures[n], {{"", name, "", colour::kText}}});
    for (const int64_t k : shown) cells.push_back({map_image(maps, static_cast<int64_t>(n), k)});
  }
  draw_image_grid(cells,
                  {fmt::format("{}: filtered by {}", source.title(), found.name),
                   fmt::format("responses before the activation, {}×{}; {}; grey is zero, each map scaled by its "
                               "largest response",
                               maps.dim(1), maps.dim(2), source.weights_text()),
                   static_cast<int>(shown.size()) + 1},
                  file);
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
