#include "kernels/gemm/tile_choice.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/gpu/device.h"

namespace striate::tile {

namespace {

thread_local const Choice* forced = nullptr;

// A block's start, its pipeline's filling and its stores; and a launch more for the sum of the shares.
constexpr double kBlockClocks = 1000.0, kLaunchClocks = 2000.0;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Clocks for one unit of a block's depth. What products, shared memory and the L2 take overlaps, but not to the full:
/// the eighth root of the sum of eighth powers is 1.09 times the longer of two equal ones, 1.15 times that of three.
double clocks_of_depth(const TileShape& tile, int value_bytes, Precision precision) {
  const Rates& of = kA100Rates;
  const double rate = precision == Precision::fp32 ? of.fp32 : precision == Precision::tf32 ? of.tf32 : of.bf16;
  return std::pow(std::pow(tile.m * tile.n / rate, 8.0) + std::pow(tile.wavefronts / of.wavefronts, 8.0) +
                      std::pow((tile.m + tile.n) * value_bytes / of.cache_bytes, 8.0),
                  1.0 / 8.0);
}

int64_t resident_blocks(const TileShape& tile) {
  constexpr size_t kOfTheSystem = 1024;
  const size_t fit = gpu::properties().shared_bytes_per_multiprocessor / (tile.shared_bytes + kOfTheSystem);
  return std::max<int64_t>(1, std::min<int64_t>(tile.blocks_per_multiprocessor, static_cast<int64_t>(fit)));
}

double predict(const TileShape& tile, const ProductSize& size, int64_t shares, double clocks_of_depth,
               int64_t resident) {
  const int64_t multiprocessors = gpu::properties().multiprocessors;
  const int64_t blocks = divide_up(size.m, tile.m) * divide_up(size.n, tile.n) * size.groups * shares;
  const auto depth = static_cast<double>(divide_up(divide_up(size.k, tile.k), shares) * tile.k);
  // Blocks that share a multiprocessor share its arithmetic, but hide each other's starts.
  const auto in_turn = static_cast<double>(divide_up(blocks, multiprocessors));
  const auto waves = static_cast<double>(divide_up(blocks, multiprocessors * resident));
  const double bytes_per_clock = kA100Rates.memory_bytes * static_cast<double>(multiprocessors);
  // A few multiprocessors cannot ask for all that memory gives; half of them can.
  const double asked = std::min(1.0, 2.0 * static_cast<double>(blocks) / static_cast<double>(multiprocessors));
  const auto results = static_cast<double>(size.m * size.n * size.groups);
  // Of shares, each writes what the sum reads, as float32.
  const double result_bytes = results * size.result_bytes;
  const double written = shares > 1 ? 4.0 * results * static_cast<double>(shares) : result_bytes;
  const double on_chip = in_turn * depth * clocks_of_depth + waves * kBlockClocks;
  const double read = static_cast<double>(size.values) * size.value_bytes;
  const double traffic = (read + written) / (asked * bytes_per_clock);
  // The shorter overlaps with the longer, though not to the full: of tiles that wait for memory the fastest.
  const double clocks = std::max(on_chip, traffic) + 0.05 * std::min(on_chip, traffic);
  return shares > 1 ? clocks + kLaunchClocks + (written + result_bytes) / bytes_per_clock : clocks;
}

constexpr int64_t kMostShares = 128;
// What the shares' results may take together: more would not stay in an L2 anyway.
constexpr int64_t kMostPartial = int64_t{1} << 26;

bool fits(const TileShape& tile) { return tile.shared_bytes <= gpu::properties().shared_bytes_per_block; }

/// A share has at least two steps, and none is empty.
bool can_share(const TileShape& tile, const ProductSize& size, int64_t shares) {
  const int64_t steps = divide_up(size.k, tile.k);
  return shares == 1 ||
         (shares <= kMostShares && steps >= 2 * shares && divide_up(steps, divide_up(steps, shares)) == shares &&
          shares * size.m * size.n * size.groups <= kMostPartial);
}

struct Shares {
  int64_t number = 1;
  double clocks = -1.0;
};

/// The number of shares with the least predicted time of a tile.
Shares best_shares(const TileShape& tile, const ProductSize& size, Precision precision) {
  const double clocks_a_depth = clocks_of_depth(tile, size.value_bytes, precision);
  const int64_t resident = resident_blocks(tile);
  Shares best;
  // All numbers of shares up to 16, then steps of an eighth.
  for (int64_t shares = 1; shares <= kMostShares; shares += std::max<int64_t>(1, shares / 8)) {
    if (!can_share(tile, size, shares)) continue;
    const double clocks = predict(tile, size, shares, clocks_a_depth, resident);
    if (best.clocks < 0.0 || clocks < best.clocks) best = {shares, clocks};
  }
  return best;
}

/// None where nothing is forced, or a tile that no block here can have.
std::optional<Choice> forced_choice(std::span<const TileShape> tiles, const ProductSize& size) {
  if (!forced) return std::nullopt;
  const size_t tile = std::min(forced->tile, tiles.size() - 1);
  if (!fits(tiles[tile])) return std::nullopt;
  int shares = forced->shares;
  while (!can_share(tiles[tile], size, shares)) --shares;
  return Choice{tile, shares};
}

}  // namespace

double predicted_clocks(const TileShape& tile, const ProductSize& size, int64_t shares, Precision precision) {
  return predict(tile, size, shares, clocks_of_depth(tile, size.value_bytes, precision), resident_blocks(tile));
}

Choice choose(std::span<const TileShape> tiles, const ProductSize& size, Precision precision) {
  if (const auto choice = forced_choice(tiles, size)) return *choice;
  Choice best{0, 1};
  double least = -1.0;
  for (size_t t = 0; t < tiles.size(); ++t) {
    if (!fits(tiles[t])) continue;
    const Shares shares = best_shares(tiles[t], size, precision);
    if (least < 0.0 || shares.clocks < least) {
      least = shares.clocks;
      best = {t, static_cast<int>(shares.number)};
    }
  }
  return best;
}

bool is_possible(const TileShape& tile, const ProductSize& size, int shares) {
  return shares > 0 && fits(tile) && can_share(tile, size, shares);
}

std::vector<Choice> candidates(std::span<const TileShape> tiles, const ProductSize& size, Precision precision) {
  std::vector<Choice> result;
  for (size_t t = 0; t < tiles.size(); ++t) {
    if (!fits(tiles[t])) continue;
    const auto best = static_cast<int>(best_shares(tiles[t], size, precision).number);
    result.push_back({t, best});
    for (const int shares : {best / 2, best * 2}) {
      if (is_possible(tiles[t], size, shares)) result.push_back({t, shares});
    }
  }
  return result;
}

bool is_forced() { return forced != nullptr; }

ForcedChoice::ForcedChoice(size_t tile, int shares) : choice_{tile, shares}, outer_(forced) { forced = &choice_; }

ForcedChoice::~ForcedChoice() { forced = outer_; }

}  // namespace striate::tile
