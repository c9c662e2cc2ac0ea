#pragma once

#include <optional>

#include "engine/device.h"

namespace striate::bench {

/// What a machine can do at most, in flops and bytes (read and written both counted) a second.
struct MachineLimit {
  double flops = 0.0;
  double bytes = 0.0;
};

/// What the device allows in that precision, measured now; nothing where it cannot be measured: the reference, bf16 on
/// a CPU without instructions for it, and device cuda in a build without nvcc.
std::optional<MachineLimit> measure_machine_limit(Device device, Precision precision);

}  // namespace striate::bench
