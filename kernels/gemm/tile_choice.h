#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/context.h"

namespace striate::tile {

/// What of a tile its speed depends on.
struct TileShape {
  int m, n, k;
  int blocks_per_multiprocessor;  ///< that its registers allow
  size_t shared_bytes;
  double wavefronts;  ///< passes through shared memory for each unit of its depth
};

/// What one multiprocessor can do in a clock: multiply–adds by precision, passes through its shared memory, bytes from
/// the L2 and from memory when all ask for them.
struct Rates {
  double fp32, tf32, bf16, wavefronts, cache_bytes, memory_bytes;
};

/// NVIDIA A100 Tensor Core GPU Architecture, tables 1 and 4: 19.5, 156 and 312 TFLOP/s, 5120 bytes a clock and 1555
/// GB/s over 108 multiprocessors at 1.41 GHz. Only the ratios matter for a choice, and those are much the same on later
/// chips.
inline constexpr Rates kA100Rates{64, 512, 1024, 1, 5120.0 / 108, 1555e9 / 1.41e9 / 108};

/// A product c [m, n] with sums of k products, `groups` times. Its operands are `values` of memory, which are fewer
/// than the sums' where windows overlap.
struct ProductSize {
  int64_t m, n, k, groups;
  int64_t values = (m + n) * k * groups;
  int value_bytes = 4, result_bytes = 4;  ///< of one
};

/// Tile number `tile`, the depth in `shares` parts.
struct Choice {
  size_t tile;
  int shares;
};

/// The tile and the number of shares with the least predicted time on the current device. Never a tile that needs more
/// shared memory than a block can have; `tiles` holds one that fits.
Choice choose(std::span<const TileShape> tiles, const ProductSize& size, Precision precision);

/// What choose() minimises, with the tile's depth in so many shares.
double predicted_clocks(const TileShape& tile, const ProductSize& size, int64_t shares, Precision precision);

/// Whether a block can have the tile, and the depth divides into that many shares of two steps or more.
bool is_possible(const TileShape& tile, const ProductSize& size, int shares);

/// What is worth timing: every possible tile with its predicted best number of shares, with half and with twice that.
std::vector<Choice> candidates(std::span<const TileShape> tiles, const ProductSize& size, Precision precision);

/// Whether a ForcedChoice lives.
bool is_forced();

/// While one of these lives, choose() takes tile number `tile` (or the last there is) and at most `shares` shares: for
/// tests and for measuring tiles against each other.
class ForcedChoice {
 public:
  ForcedChoice(size_t tile, int shares);
  ~ForcedChoice();
  ForcedChoice(const ForcedChoice&) = delete;
  ForcedChoice& operator=(const ForcedChoice&) = delete;

 private:
  const Choice choice_;
  const Choice* const outer_;
};

}  // namespace striate::tile
