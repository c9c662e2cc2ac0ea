#pragma once

#include "benchmarks/machine_limit.h"
#include "models/summary.h"

namespace striate::bench {

/// The shortest time in seconds that a step can take where every product is computed directly (no Winograd) and a
/// layer's flops and the traffic of its weights overlap: Σ over layers of the longer of the two. `train`: forward, both
/// backwards (the first layer's data gradient is not needed), and an update with one momentum that touches every weight
/// and momentum once and writes no gradient; otherwise the forward alone. Activations are taken as free.
double step_limit_seconds(const models::ModelSummary& summary, int64_t batch, bool train, const MachineLimit& limit);

}  // namespace striate::bench
