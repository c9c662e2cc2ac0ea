#include "kernels/gemm/tile_choice.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/gpu/device.h"

namespace striate::tile {
namespace {

const std::vector<TileShape> kTiles = {
    {256, 128, 32, 1, 147456}, {128, 128, 16, 2, 65536}, {64, 64, 32, 3, 49152}, {16, 128, 32, 3, 55296}};
constexpr size_t kSmall = 2, kFewRows = 3;

class TileChoice : public testing::Test {
 protected:
  void SetUp() override {
    // On a GPU the choice is by that GPU's size; these expectations are the A100's, whose place the host takes.
    if (gpu::built_for_gpu()) GTEST_SKIP() << "the choice depends on the GPU";
  }
};

TEST_F(TileChoice, TakesLargeTilesForLargeProducts) {
  // AlexNet's third convolution, 128 images.
  const Choice choice = choose(kTiles, {128 * 169, 384, 1728, 1}, Precision::tf32);
  EXPECT_LT(choice.tile, kSmall);
  EXPECT_EQ(choice.shares, 1);
}

TEST_F(TileChoice, TakesFewRowsForASmallBatchAndSharesTheDepth) {
  const Choice choice = choose(kTiles, {4, 4096, 9216, 1}, Precision::fp32);
  EXPECT_EQ(choice.tile, kFewRows);
  EXPECT_GT(choice.shares, 1);
  // Tensor cores do the rows that are not there for nothing; more than one block a multiprocessor must read all the
  // same.
  EXPECT_GT(choose(kTiles, {4, 4096, 9216, 1}, Precision::tf32).shares, 1);
}

TEST_F(TileChoice, SharesTheLongSumsOfWeightGradients) {
  const Choice choice = choose(kTiles, {64, 363, 128 * 55 * 55, 1}, Precision::tf32);
  EXPECT_GE(choice.shares, 8);
}

TEST_F(TileChoice, LeavesNoShareEmpty) {
  for (int64_t k = 0; k < 3000; k += 37) {
    const Choice choice = choose(kTiles, {64, 64, k, 1}, Precision::fp32);
    const int64_t steps = (k + kTiles[choice.tile].k - 1) / kTiles[choice.tile].k;
    const int64_t steps_per_share = (steps + choice.shares - 1) / choice.shares;
    EXPECT_TRUE(choice.shares == 1 || (choice.shares - 1) * steps_per_share < steps) << k;
  }
}

TEST_F(TileChoice, LeavesOutWhatNeedsMoreSharedMemoryThanABlockHas) {
  std::vector<TileShape> tiles = kTiles;
  tiles[0].shared_bytes = tiles[1].shared_bytes = size_t{1} << 20;
  EXPECT_GE(choose(tiles, {128 * 169, 384, 1728, 1}, Precision::tf32).tile, kSmall);
}

TEST_F(TileChoice, CanBeForced) {
  const ProductSize size{128 * 169, 384, 1728, 1};
  {
    const ForcedChoice outer(kFewRows, 3);
    EXPECT_EQ(choose(kTiles, size, Precision::tf32).tile, kFewRows);
    {
      const ForcedChoice inner(7, 1);  // the last there is
      EXPECT_EQ(choose({kTiles.data(), 2}, size, Precision::tf32).tile, 1u);
    }
    EXPECT_EQ(choose(kTiles, size, Precision::tf32).shares, 3);
  }
  EXPECT_NE(choose(kTiles, size, Precision::tf32).tile, kFewRows);
}

}  // namespace
}  // namespace striate::tile
