#pragma once

#include <functional>
#include <map>
#include <string>

#include "kernels/gemm/tile_choice.h"

// Choices of tiles by timing instead of by prediction. The kernels keep them in a table that someone lends them; files
// are that someone's affair (engine/autotune.h).
namespace striate::tile {

/// A tile by what it is, so that a choice outlives a change of the list that it was made from.
struct TunedTile {
  int m = 0, n = 0, k = 0, shares = 1;
  friend bool operator==(const TunedTile&, const TunedTile&) = default;
};

/// The fastest tile by product, as product_name() names it.
class TuningTable {
 public:
  const TunedTile* find(const std::string& product) const;
  void set(const std::string& product, const TunedTile& tile) { tiles_[product] = tile; }
  const std::map<std::string, TunedTile>& tiles() const { return tiles_; }

 private:
  std::map<std::string, TunedTile> tiles_;
};

/// From now on products on cuda take their tiles from the table, and time and add what it lacks; null: from choose().
/// The table outlives its use.
void tune_with(TuningTable* table);
TuningTable* tuning_table();

/// What, besides its size, a product's speed hangs on: where its operands come from, how many values a copy takes.
struct ProductKind {
  const char* a;
  const char* b;
  int width_a, width_b;
  Precision precision;
};

/// "bf16 windows/8 rows/8 m=21632 n=384 k=1728 groups=1 values=4153344 bytes=2/2".
std::string product_name(const ProductKind& kind, const ProductSize& size);

/// The table's choice where it has one that is possible; else, where the product can be timed, the fastest of
/// candidates(), which then is added; else choose()'s. A ForcedChoice goes before all of them. run() computes the
/// product, and is called several times: in a build for GPUs, where events on the context's stream time it. In a host
/// build, where time says nothing about a GPU, the predicted times are compared and run() is not called.
Choice tuned_choice(TuningTable& table, const ProductKind& kind, std::span<const TileShape> tiles,
                    const ProductSize& size, bool can_time, const std::function<void(const Choice&)>& run,
                    Context& context);

}  // namespace striate::tile
