#include "kernels/gemm/tile_tuning.h"

#include <algorithm>
#include <optional>

#include "kernels/gpu/device.h"
#include "kernels/gpu/stream.h"

namespace striate::tile {

namespace {

TuningTable* in_use = nullptr;

const char* name_of(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::tf32 ? "tf32" : "bf16";
}

std::optional<Choice> look_up(const TuningTable& table, const std::string& product, std::span<const TileShape> tiles,
                              const ProductSize& size) {
  const TunedTile* const tuned = table.find(product);
  if (!tuned) return std::nullopt;
  for (size_t t = 0; t < tiles.size(); ++t) {
    const bool same = tiles[t].m == tuned->m && tiles[t].n == tuned->n && tiles[t].k == tuned->k;
    if (same && is_possible(tiles[t], size, tuned->shares)) return Choice{t, tuned->shares};
  }
  return std::nullopt;
}

/// The least of a few repetitions: what disturbs a time makes it longer.
double milliseconds(const Choice& choice, const std::function<void(const Choice&)>& run, gpu::Stream& stream) {
  constexpr int kRepetitions = 5, kCalls = 4;
  gpu::Event start, end;
  run(choice);
  double least = 0.0;
  for (int r = 0; r < kRepetitions; ++r) {
    start.record(stream);
    for (int i = 0; i < kCalls; ++i) run(choice);
    end.record(stream);
    end.synchronize();
    const double time = double{end.milliseconds_since(start)};
    least = r == 0 ? time : std::min(least, time);
  }
  return least;
}

}  // namespace

const TunedTile* TuningTable::find(const std::string& product) const {
  const auto found = tiles_.find(product);
  return found == tiles_.end() ? nullptr : &found->second;
}

void tune_with(TuningTable* table) { in_use = table; }

TuningTable* tuning_table() { return in_use; }

std::string product_name(const ProductKind& kind, const ProductSize& size) {
  const auto number = [](const char* name, int64_t value) { return std::string(name) + std::to_string(value); };
  return std::string(name_of(kind.precision)) + " " + kind.a + number("/", kind.width_a) + " " + kind.b +
         number("/", kind.width_b) + number(" m=", size.m) + number(" n=", size.n) + number(" k=", size.k) +
         number(" groups=", size.groups) + number(" values=", size.values) + number(" bytes=", size.value_bytes) +
         number("/", size.result_bytes);
}

Choice tuned_choice(TuningTable& table, const ProductKind& kind, std::span<const TileShape> tiles,
                    const ProductSize& size, bool can_time, const std::function<void(const Choice&)>& run,
                    Context& context) {
  if (is_forced()) return choose(tiles, size, kind.precision);
  const std::string product = product_name(kind, size);
  if (const auto known = look_up(table, product, tiles, size)) return *known;
  if (!can_time) return choose(tiles, size, kind.precision);
  Choice best{0, 1};
  double least = -1.0;
  for (const Choice& choice : candidates(tiles, size, kind.precision)) {
    const double time = gpu::built_for_gpu()
                            ? milliseconds(choice, run, *context.stream)
                            : predicted_clocks(tiles[choice.tile], size, choice.shares, kind.precision);
    if (least >= 0.0 && time >= least) continue;
    least = time;
    best = choice;
  }
  table.set(product, {tiles[best.tile].m, tiles[best.tile].n, tiles[best.tile].k, best.shares});
  return best;
}

}  // namespace striate::tile
