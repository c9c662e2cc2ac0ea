#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/profiler.h"

namespace striate {

/// A profile in the trace event format of Chrome, which chrome://tracing and Perfetto open: a row for each pass of the
/// thread that profiled, one for each other thread, and the kernels once more by the GPU's clock where they ran there,
/// with a row of their own for copies in another stream.
/// Each event names layer, size, flops and bytes. `facts` are told with it.
std::string chrome_trace(const std::vector<ProfileEvent>& events,
                         const std::vector<std::pair<std::string, std::string>>& facts);

}  // namespace striate
