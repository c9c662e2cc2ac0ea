#include "benchmarks/machine_limit.h"

#include "benchmarks/cuda_limits.h"
#include "benchmarks/kernels_limits.h"
#include "kernels/gpu/device.h"

namespace striate::bench {

std::optional<MachineLimit> measure_machine_limit(Device device, Precision precision) {
  if (device == Device::cuda && gpu::built_for_gpu()) {
    const CudaLimits limits = measure_cuda_limits(context(device));
    const double flops = precision == Precision::fp32   ? limits.flops
                         : precision == Precision::tf32 ? limits.tf32_flops
                                                        : limits.bf16_flops;
    return MachineLimit{flops, limits.copy};
  }
  if (device != Device::cpu) return std::nullopt;
  const Limits limits = measure_limits(context(device));
  const double flops = precision == Precision::bf16 ? limits.bf16_flops : limits.flops;
  if (flops <= 0.0) return std::nullopt;  // no such instructions here
  return MachineLimit{flops, limits.copy};
}

}  // namespace striate::bench
