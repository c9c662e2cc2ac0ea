#pragma once

#include <string>

#include "kernels/context.h"

namespace striate {

/// Where a tensor lives and which kernels work on it.
///   reference  naive loops with double accumulators: the oracle, slow
///   cpu        SIMD and threads
enum class Device { reference, cpu };

/// "auto", "reference" or "cpu". Throws ConfigError for anything else; a device this build does not have (cuda) is
/// named together with what to do.
Device parse_device(const std::string& name);
std::string to_string(Device device);

/// Threads of the cpu kernels; 0 takes every core. Not to be called while kernels run.
void set_num_threads(int threads);
int num_threads();

/// What kernels of a device run with: threads, scratch memory, precision. One kernel at a time.
Context& context(Device device);

}  // namespace striate
