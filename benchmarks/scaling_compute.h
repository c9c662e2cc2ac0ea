#pragma once

#include <filesystem>

#include "benchmarks/chips.h"
#include "benchmarks/scaling_model.h"
#include "engine/device.h"

namespace striate::bench {

/// PREDICTED from the chip's published limits: a kernel's products and its traffic overlap, and each reaches the share
/// of its limit that docs/kernels.md predicts of these kernels. An activation or dropout is computed along by its
/// layer.
Compute chip_compute(const Chip& chip, Precision precision, const std::vector<LayerWork>& layers);

/// A measured step's layers.
struct MeasuredStep {
  Compute compute;       ///< the layers in proportion to the images, the update to the parameters
  double images = 0.0;   ///< of the step
  double seconds = 0.0;  ///< the whole step
};
/// Of what `layers --json` wrote of training. Throws ConfigError where that is of another network.
MeasuredStep measured_compute(const std::filesystem::path& file, const std::vector<LayerWork>& layers);

}  // namespace striate::bench
