#pragma once

#include <optional>
#include <string>

#include "kernels/gpu/host/checked/counters.h"

namespace striate::bench {

/// The tile::Shape that a matrix product was launched with.
struct LaunchTile {
  int m = 0, n = 0, k = 0;
  int stages = 0;
  int blocks = 0;  ///< that are to fit on a multiprocessor
  /// "tf32", "4, 4, WindowRows<float>, MatrixRows<float>" (values in a copy, where from)
  std::string precision, operands;

  std::string to_string() const;
  friend bool operator==(const LaunchTile&, const LaunchTile&) = default;
};

/// The kernel's name with the template arguments that benchmarks/kernel_resources.sh prints; that of the launch where
/// it is no matrix product.
std::string resource_name(const gpu::host::checked::LaunchRecord& launch);

/// From the template arguments of the function that launched; none for other kernels.
std::optional<LaunchTile> tile_of(const gpu::host::checked::LaunchRecord& launch);

}  // namespace striate::bench
