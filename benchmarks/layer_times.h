#pragma once

#include <optional>
#include <string>
#include <vector>

#include "benchmarks/machine_limit.h"
#include "engine/profiler.h"
#include "models/summary.h"

namespace striate::bench {

/// A layer's time in one pass of a step.
struct LayerTime {
  std::string layer;  ///< "features.0"; also "loss", "optimizer", "copies", "outside of layers", "between kernels"
  std::string what;   ///< "conv 64@11×11 s4 p2 + ReLU"
  std::string kind;   ///< "Conv2d": what the picture colours it by
  Pass pass = Pass::forward;
  double seconds = 0.0;  ///< the median over the steps
  double flops = 0.0;    ///< of one step
  double bytes = 0.0;    ///< moved at least, of one step
  double share = 0.0;    ///< of the step
  /// The least time that its kernels' flops and bytes take, each kernel by itself, as a share of the time taken;
  /// nothing where the limit is not known.
  std::optional<double> of_limit;
};

struct LayerTimes {
  double step_seconds = 0.0;  ///< the median
  int steps = 0;
  std::vector<LayerTime> rows;  ///< in the order in which they first work
};

/// A profile's kernels and copies by layer and pass. What the events of Pass::step contain is counted; a layer of the
/// summary whose own time is nobody's, because the layer before computes it along, is named with that one.
LayerTimes layer_times(const std::vector<ProfileEvent>& events, const models::ModelSummary& summary,
                       const std::optional<MachineLimit>& limit);

}  // namespace striate::bench
