#pragma once

#include <string>

#include "kernels/context.h"

namespace striate {

/// Where a tensor lives and which kernels work on it.
///   reference  naive loops with double accumulators: the oracle, slow
///   cpu        SIMD and threads
///   cuda       the GPU; in a build without nvcc the same kernels, executed by the host thread by thread: for checking
enum class Device { reference, cpu, cuda };

/// Whether host code may follow the data pointers of the device's tensors.
constexpr bool on_host(Device device) { return device != Device::cuda; }

/// "auto" (cuda in a build for GPUs where there is one, else cpu), "reference", "cpu" or "cuda". Throws ConfigError for
/// anything else, and CudaError for cuda in a build for GPUs where there is none that it can use.
Device parse_device(const std::string& name);
std::string to_string(Device device);
/// A sentence for whoever asked for the device, to be said once before it works; empty where there is nothing to say.
std::string device_notice(Device device);

/// "fp32", "tf32" or "bf16". Throws ConfigError for anything else.
Precision parse_precision(const std::string& name);
std::string to_string(Precision precision);
/// What a device computes with: with tf32 its matrix products round their inputs on the way in, with bf16 they make
/// bfloat16 of all that flows through a network (engine/ops). Throws ConfigError for tf32 on another device than cuda.
void set_precision(Device device, Precision precision);
/// Throws what set_precision() would, and changes nothing.
void check_precision(Device device, Precision precision);

/// Threads of the cpu kernels; 0 takes every core. Not to be called while kernels run.
void set_num_threads(int threads);
int num_threads();

/// What kernels of a device run with: threads or a stream, scratch memory, precision. One kernel at a time. Throws
/// CudaError for cuda where there is no GPU that it can use.
Context& context(Device device);
/// 1 in cuda's memory, where every backward on it starts: made with the device's context, so that no step that is
/// captured has to write it. Nor may anybody else.
float* one_on_cuda();
/// Waits for all that a device was given to do: before looking at a clock. Throws CudaError for a failure of any of it.
void synchronize(Device device);

}  // namespace striate
