#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/context.h"

namespace striate::tile {

/// What of a tile its speed depends on.
struct TileShape {
  int m, n, k;
  int blocks_per_multiprocessor;
  size_t shared_bytes;
};

/// A product c [m, n] with sums of k products, `groups` times.
struct ProductSize {
  int64_t m, n, k, groups;
};

/// Tile number `tile`, the depth in `shares` parts.
struct Choice {
  size_t tile;
  int shares;
};

/// The tile and the number of shares with the least predicted time on the current device. Never a tile that needs more
/// shared memory than a block can have; `tiles` holds one that fits.
Choice choose(std::span<const TileShape> tiles, const ProductSize& size, Precision precision);

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
