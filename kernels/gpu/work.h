#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace striate::gpu {

/// One thing that a stream is given to do.
struct Work {
  enum class Kind { kernel, copy, set };
  Kind kind = Kind::kernel;
  const char* text = "";  ///< kernel: the launch's arguments as written, in static memory
  /// Copy, set: of the destination. A captured kernel in a host build: of the device memory behind the addresses among
  /// its arguments, each allocation whole and once. Other kernels: 0.
  size_t bytes = 0;

  /// "conv_kernel<64, 32>", "copy" or "set".
  std::string name() const;
};

/// "conv_kernel<64, 32>" out of "conv_kernel<64, 32>, grid, block, …".
std::string kernel_of_launch(const char* text);

/// What a stream was given so far. What a graph holds counts at each replay, and not while it is captured. Kernels that
/// a vendor's library launches are not seen.
struct WorkCounts {
  int64_t launches = 0, copies = 0, sets = 0;
  int64_t replays = 0;  ///< of graphs, whose work is in the other figures
  int64_t copied_bytes = 0, set_bytes = 0;

  int64_t all() const { return launches + copies + sets; }
  void add(const Work& work);
  void add(const WorkCounts& other);
};

/// What was given between two looks at the same stream.
WorkCounts operator-(const WorkCounts& after, const WorkCounts& before);

}  // namespace striate::gpu
