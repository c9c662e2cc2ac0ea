#include "benchmarks/launch_tile.h"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

namespace striate::bench {

std::string LaunchTile::to_string() const { return fmt::format("{}x{}x{}", m, n, k); }

std::optional<LaunchTile> tile_of(const gpu::host::checked::LaunchRecord& launch) {
  constexpr std::string_view kBefore = "Shape<";
  const size_t at = launch.function.find(kBefore);
  if (at == std::string::npos || !launch.kernel.starts_with("product_kernel")) return std::nullopt;
  LaunchTile tile;
  int warps_m = 0, warps_n = 0;
  const int found = std::sscanf(launch.function.c_str() + at + kBefore.size(), "%d, %d, %d, %d, %d, %d, %d", &tile.m,
                                &tile.n, &tile.k, &warps_m, &warps_n, &tile.stages, &tile.blocks);
  if (found != 7) return std::nullopt;
  return tile;
}

}  // namespace striate::bench
