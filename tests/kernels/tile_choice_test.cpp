#include "kernels/gemm/tile_choice.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/gpu/device.h"

namespace striate::tile {
namespace {

const std::vector<TileShape> kTiles = {{256, 128, 32, 1, 147456, 44.0},
                                       {128, 128, 16, 2, 65536, 24.0},
                                       {128, 64, 16, 4, 36864, 14.0},
                                       {64, 64, 32, 3, 49152, 12.0},
                                       {16, 128, 32, 3, 55296, 10.5}};
constexpr size_t kNarrow = 2, kSmall = 3, kFewRows = 4;

class TileChoice : public testing::Test {
 protected:
  void SetUp() override {
    // On a GPU the choice is by that GPU's size; these expectations are the A100's, whose place the host takes.
    if (gpu::built_for_gpu()) GTEST_SKIP() << "the choice depends on the GPU";
  }
};

TEST_F(TileChoice, TakesLargeTilesForLargeProducts) {
  // AlexNet's third convolution, 128 images.
  const Choice choice = choose(kTiles, {128 * 169, 384, 1728, 1, 128 * 169 * 192}, Precision::tf32);
  EXPECT_LT(choice.tile, kSmall);
  EXPECT_EQ(choice.shares, 1);
}

TEST_F(TileChoice, WastesNoHalfOfATileOnFewColumns) {
  // AlexNet's second convolution, 128 images: the gradient of 64 channels, and 192 of them forward.
  EXPECT_EQ(choose(kTiles, {128 * 729, 64, 4800, 1, 128 * 729 * 192}, Precision::tf32).tile, kNarrow);
  EXPECT_EQ(choose(kTiles, {128 * 729, 192, 1600, 1, 128 * 729 * 64}, Precision::tf32).tile, kNarrow);
}

TEST_F(TileChoice, CountsThePassesThroughSharedMemory) {
  std::vector<TileShape> tiles(2, kTiles[1]);
  tiles[0].wavefronts = 100.0;
  EXPECT_EQ(choose(tiles, {128 * 169, 384, 1728, 1, 128 * 169 * 192}, Precision::bf16).tile, 1u);
}

TEST_F(TileChoice, CountsTheBlocksThatFitIntoSharedMemory) {
  // The starts of as many blocks as registers allow would be hidden, of those that fit not.
  std::vector<TileShape> tiles(2, kTiles[kSmall]);
  tiles[0].blocks_per_multiprocessor = 16;
  tiles[1].blocks_per_multiprocessor = 4, tiles[1].shared_bytes = 32768;
  EXPECT_EQ(choose(tiles, {64 * 108 * 4, 64, 640, 1, 1 << 20}, Precision::tf32).tile, 1u);
}

TEST_F(TileChoice, TakesFewRowsForASmallBatchAndSharesTheDepth) {
  const Choice choice = choose(kTiles, {4, 4096, 9216, 1}, Precision::fp32);
  EXPECT_EQ(choice.tile, kFewRows);
  EXPECT_GT(choice.shares, 1);
  // Tensor cores do the rows that are not there for nothing; half of the multiprocessors must read all the same.
  const Choice products = choose(kTiles, {4, 4096, 9216, 1}, Precision::tf32);
  EXPECT_GE(4096 / kTiles[products.tile].n * products.shares, 54);
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
  EXPECT_GE(choose(tiles, {128 * 169, 384, 1728, 1, 128 * 169 * 192}, Precision::tf32).tile, kNarrow);
}

TEST_F(TileChoice, CanBeForced) {
  const ProductSize size{128 * 169, 384, 1728, 1, 128 * 169 * 192};
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
