#include "benchmarks/machine_limit.h"

#include "benchmarks/kernels_limits.h"

namespace striate::bench {

std::optional<MachineLimit> measure_machine_limit(Device device, Precision precision) {
  if (device != Device::cpu) return std::nullopt;
  const Limits limits = measure_limits(context(device));
  const double flops = precision == Precision::bf16 ? limits.bf16_flops : limits.flops;
  if (flops <= 0.0) return std::nullopt;  // no such instructions here
  return MachineLimit{flops, limits.copy};
}

}  // namespace striate::bench
