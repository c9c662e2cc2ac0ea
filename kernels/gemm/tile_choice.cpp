#include "kernels/gemm/tile_choice.h"

#include <algorithm>

#include "kernels/gpu/device.h"

namespace striate::tile {

namespace {

thread_local const Choice* forced = nullptr;

// Of one multiprocessor in one clock, from NVIDIA's A100 whitepaper: products (table 2: 19.5, 156 and 312 TFLOP/s over
// 108 multiprocessors at 1.41 GHz), bytes from the L2 (5120 over 108, of which measurements reach about two thirds),
// bytes from memory (1555 GB/s). Only their ratios matter here, and those are much the same on later chips.
double products_per_clock(Precision precision) {
  return precision == Precision::fp32 ? 64.0 : precision == Precision::tf32 ? 512.0 : 1024.0;
}
constexpr double kCacheBytes = 32.0, kMemoryBytes = 10.0;
// A block's start, its pipeline's filling and its stores; and a launch more for the sum of the shares.
constexpr double kBlockClocks = 2000.0, kLaunchClocks = 4000.0;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

double predicted_clocks(const TileShape& tile, const ProductSize& size, int64_t shares, Precision precision) {
  const int64_t multiprocessors = gpu::properties().multiprocessors;
  const int64_t blocks = divide_up(size.m, tile.m) * divide_up(size.n, tile.n) * size.groups * shares;
  const auto depth = static_cast<double>(divide_up(divide_up(size.k, tile.k), shares) * tile.k);
  const double products = tile.m * tile.n * depth / products_per_clock(precision);
  const double bytes = (tile.m + tile.n) * depth * 4.0 / kCacheBytes;
  // Blocks that share a multiprocessor share its arithmetic, but hide each other's starts.
  const auto in_turn = static_cast<double>(divide_up(blocks, multiprocessors));
  const auto waves = static_cast<double>(divide_up(blocks, multiprocessors * tile.blocks_per_multiprocessor));
  double clocks = in_turn * std::max(products, bytes) + waves * kBlockClocks;
  const double traffic = 4.0 * static_cast<double>(size.groups) *
                         static_cast<double>(size.m * size.k + size.n * size.k) /
                         (kMemoryBytes * static_cast<double>(std::min(blocks, multiprocessors)));
  clocks = std::max(clocks, traffic);
  if (shares > 1) {
    clocks += kLaunchClocks + 8.0 * static_cast<double>(shares * size.m * size.n * size.groups) /
                                  (kMemoryBytes * static_cast<double>(multiprocessors));
  }
  return clocks;
}

}  // namespace

Choice choose(std::span<const TileShape> tiles, const ProductSize& size, Precision precision) {
  constexpr int64_t kShares[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
  // What the shares' results may take together: more would not stay in an L2 anyway.
  constexpr int64_t kMostPartial = int64_t{1} << 26;
  Choice best{0, 1};
  double least = -1.0;
  for (size_t t = 0; t < tiles.size(); ++t) {
    if (tiles[t].shared_bytes > gpu::properties().shared_bytes_per_block) continue;
    const int64_t steps = divide_up(size.k, tiles[t].k);
    if (forced && t != std::min(forced->tile, tiles.size() - 1)) continue;
    for (const int64_t shares : kShares) {
      // A share has at least two steps, and none is empty.
      if (shares > 1 && (steps < 2 * shares || divide_up(steps, divide_up(steps, shares)) != shares ||
                         shares * size.m * size.n * size.groups > kMostPartial)) {
        continue;
      }
      if (forced && shares > forced->shares) continue;
      double clocks = predicted_clocks(tiles[t], size, shares, precision);
      if (forced) clocks = 1.0 / static_cast<double>(shares);
      if (least < 0.0 || clocks < least) {
        least = clocks;
        best = {t, static_cast<int>(shares)};
      }
    }
  }
  return best;
}

ForcedChoice::ForcedChoice(size_t tile, int shares) : choice_{tile, shares}, outer_(forced) { forced = &choice_; }

ForcedChoice::~ForcedChoice() { forced = outer_; }

}  // namespace striate::tile
