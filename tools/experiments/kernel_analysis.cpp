#include "tools/experiments/kernel_analysis.h"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include "engine/train/safetensors.h"
#include "tools/experiments/filter_images.h"
#include "tools/experiments/kernel_film.h"
#include "tools/experiments/tuning_figures.h"

namespace striate {
namespace {

constexpr size_t kMostFrames = 200;

}  // namespace

KernelAnalysis::KernelAnalysis(nn::Module& model, const NetworkInput& input, const AnalysisOptions& options,
                               std::filesystem::path folder, std::string title)
    : model_(model),
      layer_(find_conv(model, "")),
      input_(input),
      options_(options),
      folder_(std::move(folder)),
      title_(std::move(title)) {
  if (options_.tuning) check_input_channels(input_.channels);
}

void KernelAnalysis::epoch_done(const EpochRecord& epoch) {
  if (options_.kernels) attempt(warned_of_kernels_, [&] { keep_kernels(epoch.epoch); });
  if (options_.tuning) attempt(warned_of_tuning_, [&] { measure(epoch.epoch); });
}

void KernelAnalysis::run_ends(const TrainResult& /*result*/) {
  if (!options_.kernels) return;
  attempt(warned_of_film_, [&] {
    const auto history = read_kernel_history(folder_, kMostFrames);
    if (history) write_kernel_film(*history, folder_ / "conv1_kernels.apng");
  });
}

void KernelAnalysis::keep_kernels(int64_t epoch) {
  const std::string base = (folder_ / fmt::format("conv1_kernels_epoch_{}", epoch)).string();
  const Tensor weights = layer_.conv->weight.detach().to(Device::cpu);
  write_safetensors(base + ".safetensors", {{"kernels", weights}},
                    {{"layer", layer_.name}, {"epoch", fmt::format("{}", epoch)}, {"layout", "NHWC"}});
  draw_filters(weights, fmt::format("{}, layer {}, epoch {}", title_, layer_.name, epoch), base + ".png");
}

void KernelAnalysis::measure(int64_t epoch) {
  const GratingPictures gratings =
      drawn_gratings(course_grid(input_.width, input_.channels), input_.height, input_.width, input_.channels);
  const LayerResponses responses =
      measure_responses(model_, layer_, gratings, input_, device_, ResponseStage::pre_relu);
  write_tuning_folder(responses,
                      measure_tunings(responses.grid, responses.values, static_cast<double>(responses.width)),
                      fmt::format("{}, layer {}, epoch {}", title_, layer_.name, epoch),
                      {{"epoch", fmt::format("{}", epoch)}}, folder_ / fmt::format("kernel_responses_{:02}", epoch));
}

void KernelAnalysis::attempt(bool& warned, const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    if (!warned && warn_) warn_(fmt::format("analysis: {}", error.what()));
    warned = true;
  }
}

}  // namespace striate
