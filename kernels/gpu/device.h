#pragma once

#include <cstddef>
#include <string>

namespace striate::gpu {

/// What kernels are chosen by, and what reports name.
struct DeviceProperties {
  std::string name;
  int compute_capability = 0;  ///< 80, 90, …
  int multiprocessors = 0;
  size_t shared_bytes_per_block = 0;           ///< with the opt-in above 48 KiB
  size_t shared_bytes_per_multiprocessor = 0;  ///< of which each block on it takes 1 KiB more than it asks for
  size_t memory_bytes = 0;
};

/// True in a build for GPUs, false where kernels are executed on the host.
bool built_for_gpu();
/// Whether kernels can run here: with a GPU and its driver, or always in a host build.
bool available();
/// Of the current device. In a host build an A100's limits, so that the same tiles are chosen. Throws CudaError where
/// available() is false.
const DeviceProperties& properties();

/// Where the current device is plugged in, "0000:17:00.0": two processes with the same one on a host share it. Empty in
/// a host build.
std::string bus_id();

/// "CUDA 12.4, driver for 12.6": what the build links and the most that the driver knows. Empty in a host build.
std::string versions();

}  // namespace striate::gpu
