#include "benchmarks/launch_tile.h"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

namespace striate::bench {

namespace {

/// "tf32" for kPrecision out of "… [with …; striate::Precision kPrecision = striate::Precision::tf32; …]".
std::string argument(const std::string& function, std::string_view name) {
  const size_t at = function.find(fmt::format(" {} = ", name));
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 4;
  std::string value = function.substr(begin, function.find_first_of(";]", begin) - begin);
  // Names without their namespaces.
  for (size_t scope = value.find("::"); scope != std::string::npos; scope = value.find("::")) {
    const size_t before = value.find_last_of("<, ", scope);
    const size_t name_begin = before == std::string::npos ? 0 : before + 1;
    value.erase(name_begin, scope + 2 - name_begin);
  }
  return value;
}

}  // namespace

std::string LaunchTile::to_string() const { return fmt::format("{}x{}x{}", m, n, k); }

std::string resource_name(const gpu::host::checked::LaunchRecord& launch) {
  const auto tile = tile_of(launch);
  if (!tile) return launch.kernel.substr(0, launch.kernel.find_first_of("<["));
  return fmt::format("product_kernel<{}, {}, {}>", tile->to_string(), tile->precision, tile->operands);
}

std::optional<LaunchTile> tile_of(const gpu::host::checked::LaunchRecord& launch) {
  constexpr std::string_view kBefore = "Shape<";
  const size_t at = launch.function.find(kBefore);
  if (at == std::string::npos || !launch.kernel.starts_with("product_kernel")) return std::nullopt;
  LaunchTile tile;
  int warps_m = 0, warps_n = 0;
  const int found = std::sscanf(launch.function.c_str() + at + kBefore.size(), "%d, %d, %d, %d, %d, %d, %d", &tile.m,
                                &tile.n, &tile.k, &warps_m, &warps_n, &tile.stages, &tile.blocks);
  if (found != 7) return std::nullopt;
  tile.precision = argument(launch.function, "kPrecision");
  tile.operands =
      fmt::format("{}, {}, {}, {}", argument(launch.function, "kWidthA"), argument(launch.function, "kWidthB"),
                  argument(launch.function, "A"), argument(launch.function, "B"));
  return tile;
}

}  // namespace striate::bench
