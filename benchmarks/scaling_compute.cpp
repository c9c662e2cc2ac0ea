#include "benchmarks/scaling_compute.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace striate::bench {
namespace {

// Of docs/kernels.md's predictions for AlexNet on an H100 at 128 images: Σ limits / Σ predicted times of the launches
// that products bound, in tf32 and bf16 together, and of those that memory bounds. fp32 has no tensor cores to feed:
// what it is predicted to reach at least.
constexpr double kTensorShare = 0.47, kFp32Share = 0.8, kMemoryShare = 0.97;
// Assumed: what a kernel in a replayed graph takes at least, most of it filling and draining the chip.
constexpr double kKernelSeconds = 3e-6;
// Rows and columns of a multiprocessor's tile, and summands that are worth one of their own.
constexpr double kTile = 128.0, kPiece = 512.0;

bool is_computed_along(const std::string& type) {
  return type.ends_with("LU") || type == "Dropout" || type == "Flatten" || type == "Identity";
}

double whole(double n) { return std::max(1.0, std::ceil(n)); }

struct ChipTimes {
  Chip chip;
  Precision precision;

  double value_bytes() const { return precision == Precision::bf16 ? 2.0 : 4.0; }
  double memory(double bytes) const { return bytes / (chip.memory_bytes * kMemoryShare); }
  double kernel(double flops, double tiles, double bytes) const {
    const double peak = precision == Precision::fp32   ? chip.fp32_flops * kFp32Share
                        : precision == Precision::tf32 ? chip.tf32_flops * kTensorShare
                                                       : chip.bf16_flops * kTensorShare;
    // A chip that has less tiles than multiprocessors leaves the rest idle.
    const double used = std::min(1.0, tiles / chip.multiprocessors);
    return std::max({kKernelSeconds, flops / (peak * used), memory(bytes)});
  }

  Compute::Passes layer(const LayerWork& work, double images, int64_t parts) const {
    if (is_computed_along(work.type)) return {};
    const double in = images * static_cast<double>(work.inputs) * value_bytes();
    // The largest part decides.
    const double share =
        std::ceil(static_cast<double>(work.channels) / static_cast<double>(parts)) / static_cast<double>(work.channels);
    const double out = images * static_cast<double>(work.outputs) * value_bytes() * share;
    if (work.macs == 0) return {kernel(0, 1, in + out), kernel(0, 1, in + out)};
    const double flops = 2.0 * images * static_cast<double>(work.macs) * share;
    const double parameters = static_cast<double>(work.parameters) * share;
    const double rows = images * static_cast<double>(work.outputs) / static_cast<double>(work.channels);
    // A product with few tiles cuts its sums into pieces, one for each multiprocessor left.
    const double sum = static_cast<double>(work.macs) / static_cast<double>(work.outputs);
    const double tiles = whole(rows / kTile) * whole(static_cast<double>(work.channels) * share / kTile) *
                         std::max(1.0, std::floor(sum / kPiece));
    const double product = kernel(flops, tiles, in + out + parameters * value_bytes());
    // Gradients of weights are float32; their sums, over the images, are long enough to be cut.
    const double weight_gradient = kernel(flops, chip.multiprocessors, in + out + parameters * 4.0);
    return {product, weight_gradient + (work.name == first ? 0.0 : product)};
  }

  std::string first;  // the layer whose data gradient nobody asks for
};

}  // namespace

Compute chip_compute(const Chip& chip, Precision precision, const std::vector<LayerWork>& layers) {
  ChipTimes times{chip, precision, ""};
  for (const LayerWork& layer : layers) {
    if (times.first.empty() && layer.macs > 0) times.first = layer.name;
  }
  Compute compute;
  compute.name = fmt::format("{} in {}", chip.name, to_string(precision));
  compute.layer = [times](const LayerWork& work, double images, int64_t parts) {
    return times.layer(work, images, parts);
  };
  // Logits in float32 are read for the maximum, the sum and the gradient, which is written.
  compute.loss = [times](int64_t classes, double images) {
    return times.kernel(0, 1, 16.0 * images * static_cast<double>(classes));
  };
  // Weight, gradient and momentum are read, weight and momentum written, and with bf16 the rounded weight.
  compute.update = [times](double parameters) {
    const double bytes = 20.0 + (times.precision == Precision::bf16 ? 2.0 : 0.0);
    return times.kernel(0, 1, parameters * bytes);
  };
  return compute;
}

MeasuredStep measured_compute(const std::filesystem::path& file, const std::vector<LayerWork>& layers) {
  std::ifstream in(file);
  require<ConfigError>(in.good(), "--compute {}: cannot be read; benchmarks/layers --json writes it", file.string());
  nlohmann::json document;
  std::map<std::string, Compute::Passes> passes;
  double update = 0.0, other = 0.0;
  MeasuredStep step;
  try {
    document = nlohmann::json::parse(in);
    require<ConfigError>(document.at("mode") == "train", "--compute {}: is of inference", file.string());
    step.images = document.at("batch");
    step.seconds = document.at("step_ms").get<double>() / 1e3;
    for (const auto& row : document.at("layers")) {
      const double seconds = row.at("ms").get<double>() / 1e3;
      const std::string pass = row.at("pass"), name = row.at("layer");
      if (pass == "forward")
        passes[name].forward += seconds;
      else if (pass == "backward")
        passes[name].backward += seconds;
      else
        (pass == "optimizer" ? update : other) += seconds;
    }
  } catch (const nlohmann::json::exception& error) {
    throw ConfigError(
        fmt::format("--compute {}: not what benchmarks/layers --json writes: {}", file.string(), error.what()));
  }
  double parameters = 0.0;
  std::map<std::string, Compute::Passes> found;
  for (const LayerWork& layer : layers) {
    parameters += static_cast<double>(layer.parameters);
    const auto named = passes.find(layer.name);
    if (named == passes.end()) {
      require<ConfigError>(layer.macs == 0, "--compute {}: has no layer {}; is it of another network?", file.string(),
                           layer.name);
      continue;
    }
    found[layer.name] = named->second;
    passes.erase(named);
  }
  const Compute::Passes loss = passes["loss"];
  passes.erase("loss");
  for (const auto& [name, time] : passes) other += time.forward + time.backward;
  step.compute.name = fmt::format("measured: {}", document.value("title", file.string()));
  step.compute.layer = [found, images = step.images](const LayerWork& work, double of, int64_t parts) {
    const auto time = found.find(work.name);
    if (time == found.end()) return Compute::Passes{};
    const double share = of / images / static_cast<double>(parts);
    return Compute::Passes{time->second.forward * share, time->second.backward * share};
  };
  // With it what belongs to no layer, which is the same for any images.
  step.compute.loss = [other, loss, images = step.images](int64_t, double of) {
    return other + (loss.forward + loss.backward) * of / images;
  };
  step.compute.update = [update, parameters](double of) { return parameters > 0.0 ? update * of / parameters : 0.0; };
  return step;
}

}  // namespace striate::bench
