#include "kernels/gemm/tile_tuning.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/linear/linear.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"

namespace striate::tile {
namespace {

using test::Backend;
using test::TestContext;

const std::vector<TileShape> kTiles = {
    {256, 128, 32, 1, 147456, 44.0}, {128, 128, 16, 2, 65536, 24.0}, {64, 64, 32, 3, 49152, 12.0}};
const ProductSize kSize{640, 384, 1728, 1};
constexpr ProductKind kKind{"rows", "columns", 4, 4, Precision::tf32};

/// A table in use while it lives.
struct InUse : TuningTable {
  InUse() { tune_with(this); }
  ~InUse() { tune_with(nullptr); }
};

class TileTuning : public testing::Test {
 protected:
  void SetUp() override { test::skip_unless_runnable(Backend::cuda); }
  Choice tuned(TuningTable& table, bool can_time = true) {
    return tuned_choice(
        table, kKind, kTiles, kSize, can_time, [](const Choice&) {}, context_);
  }
  TestContext context_;
};

TEST_F(TileTuning, NamesAProductByAllThatItsSpeedHangsOn) {
  EXPECT_EQ(product_name(kKind, kSize), "tf32 rows/4 columns/4 m=640 n=384 k=1728 groups=1 values=1769472 bytes=4/4");
}

TEST_F(TileTuning, OffersEveryTileAndNeighbouringNumbersOfShares) {
  const std::vector<Choice> all = candidates(kTiles, kSize, Precision::tf32);
  for (size_t t = 0; t < kTiles.size(); ++t) {
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const Choice& c) { return c.tile == t; })) << t;
  }
  for (const Choice& c : all) EXPECT_TRUE(is_possible(kTiles[c.tile], kSize, c.shares));
  std::vector<TileShape> large = kTiles;
  large[0].shared_bytes = size_t{1} << 20;
  for (const Choice& c : candidates(large, kSize, Precision::tf32)) EXPECT_NE(c.tile, 0u);
}

TEST_F(TileTuning, AddsTheFastestAndKeepsToIt) {
  if (gpu::built_for_gpu()) GTEST_SKIP() << "the fastest depends on the GPU";
  TuningTable table;
  const Choice first = tuned(table), predicted = choose(kTiles, kSize, Precision::tf32);
  EXPECT_EQ(first.tile, predicted.tile);  // by the same model
  EXPECT_EQ(first.shares, predicted.shares);
  ASSERT_EQ(table.tiles().size(), 1u);
  const TunedTile added = table.tiles().begin()->second;
  EXPECT_EQ(added, (TunedTile{kTiles[first.tile].m, kTiles[first.tile].n, kTiles[first.tile].k, first.shares}));
  // Another entry is believed, not compared.
  table.set(product_name(kKind, kSize), {64, 64, 32, 3});
  const Choice second = tuned(table);
  EXPECT_EQ(second.tile, 2u);
  EXPECT_EQ(second.shares, 3);
}

TEST_F(TileTuning, TimesAnewWhatIsNotPossible) {
  if (gpu::built_for_gpu()) GTEST_SKIP() << "the fastest depends on the GPU";
  for (const TunedTile& gone : {TunedTile{96, 96, 32, 1}, TunedTile{64, 64, 32, 500}, TunedTile{64, 64, 32, 0}}) {
    TuningTable table;
    table.set(product_name(kKind, kSize), gone);
    const Choice choice = tuned(table), predicted = choose(kTiles, kSize, Precision::tf32);
    EXPECT_EQ(choice.tile, predicted.tile);
    EXPECT_NE(table.tiles().begin()->second, gone);
  }
}

TEST_F(TileTuning, TakesThePredictionWhereNothingCanBeTimed) {
  TuningTable table;
  const Choice choice = tuned(table, false), predicted = choose(kTiles, kSize, Precision::tf32);
  EXPECT_EQ(choice.tile, predicted.tile);
  EXPECT_EQ(choice.shares, predicted.shares);
  EXPECT_TRUE(table.tiles().empty());
}

TEST_F(TileTuning, LeavesAForcedChoiceAlone) {
  TuningTable table;
  const ForcedChoice forced(2, 3);
  EXPECT_EQ(tuned(table).tile, 2u);
  EXPECT_TRUE(table.tiles().empty());
}

TEST_F(TileTuning, ServesTheProductsOfALayer) {
  const LinearShape s{100, 132, 100};
  const auto x = test::small_integers<float>(s.N * s.C, 1), w = test::small_integers<float>(s.K * s.C, 2);
  const auto dy = test::small_integers<float>(s.N * s.K, 3);
  const auto run = [&](Accumulate accumulate) {
    test::Values<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C, 0.0f);
    cuda::linear_forward<float>(x.data(), w.data(), nullptr, y.data(), s, Activation::none, context_);
    cuda::linear_backward_data<float>(dy.data(), w.data(), dx.data(), s, context_);
    cuda::linear_backward_weight<float>(x.data(), dy.data(), dw.data(), nullptr, s, accumulate, context_);
    static_cast<Context&>(context_).stream->synchronize();
    for (const auto* part : {&dx, &dw}) y.insert(y.end(), part->begin(), part->end());
    return y;
  };
  const auto expected = run(Accumulate::no);
  InUse table;
  // A sum that is added to something is computed once, not timed.
  EXPECT_TRUE(test::all_equal(run(Accumulate::yes), expected));
  EXPECT_EQ(table.tiles().size(), 2u);
  EXPECT_TRUE(test::all_equal(run(Accumulate::no), expected));
  EXPECT_EQ(table.tiles().size(), 3u);
  // Tiles that nobody would predict, and sums in shares: integers are exact all the same.
  for (const auto& [product, tile] : std::map(table.tiles())) table.set(product, {64, 64, 16, 3});
  EXPECT_TRUE(test::all_equal(run(Accumulate::no), expected));
  for (const auto& [product, tile] : table.tiles()) EXPECT_EQ(tile, (TunedTile{64, 64, 16, 3})) << product;
}

}  // namespace
}  // namespace striate::tile
