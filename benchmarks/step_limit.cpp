#include "benchmarks/step_limit.h"

#include <algorithm>

namespace striate::bench {

double step_limit_seconds(const models::ModelSummary& summary, int64_t batch, bool train, const MachineLimit& limit) {
  // A weight read by the forward; read and written with its momentum by the update, which the data gradient shares.
  constexpr double kForwardBytes = 4.0, kUpdateBytes = 16.0;
  double seconds = 0.0;
  bool first = true;
  for (const models::LayerSummary& layer : summary.layers) {
    const double forward = 2.0 * static_cast<double>(layer.macs) * static_cast<double>(batch);
    const double products = !train ? 1.0 : first ? 2.0 : 3.0;
    const double bytes = static_cast<double>(layer.parameters) * (kForwardBytes + (train ? kUpdateBytes : 0.0));
    seconds += std::max(products * forward / limit.flops, bytes / limit.bytes);
    if (layer.macs > 0) first = false;
  }
  return seconds;
}

}  // namespace striate::bench
