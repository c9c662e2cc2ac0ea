#include "data/color_components.h"

#include <gtest/gtest.h>

#include <vector>

#include "data/config.h"
#include "data/datasets/memory_dataset.h"
#include "data/open.h"
#include "data/transforms/color.h"
#include "data/transforms/settle.h"
#include "kernels/error.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"

namespace striate {
namespace {

/// A picture whose green follows its red, and a fainter copy.
MemoryDataset two_pictures() {
  PictureBlock block{23, 31, 3, {}, {0, 0}, "formula"};
  const Image picture = test::formula_picture(23, 31, 3);
  block.pixels = picture.pixels;
  for (const uint8_t level : picture.pixels) block.pixels.push_back(static_cast<uint8_t>(level / 3 + 40));
  for (size_t p = 0; p < block.pixels.size(); p += 3) {
    block.pixels[p + 1] = static_cast<uint8_t>((3 * block.pixels[p] + block.pixels[p + 1]) / 4);
  }
  return {std::move(block), {"a"}};
}

TEST(ColorComponents, AreNumpys) {
  // numpy 2: eigh(cov(rgb / 255, bias=True)), turned round so that each vector's largest entry is positive.
  const ColorComponents expected = {{0.08793415495312473, 0.050437400622996155, 0.00219925296031551},
                                    {{{0.7247545628296519, 0.33428562475735096, -0.602481489124925},
                                      {0.5595933301625091, 0.2245665732338664, 0.7977625956533881},
                                      {-0.40197777114566025, 0.9153267041153043, 0.024308357373157147}}}};
  const MemoryDataset dataset = two_pictures();
  const std::vector<int64_t> both = {0, 1};
  for (const int threads : {1, 3}) {
    const ColorComponents found = compute_color_components(dataset, {both, threads});
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(found.values[i], expected.values[i], 1e-14);
      for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(found.vectors[c][i], expected.vectors[c][i], 1e-11) << c << i;
    }
  }
}

TEST(ColorComponents, OfDiagonalAndDegenerateMatrices) {
  const ColorComponents diagonal = principal_components({{{1, 0, 0}, {0, 3, 0}, {0, 0, 2}}});
  EXPECT_EQ(diagonal.values, (std::array<double, 3>{3, 2, 1}));
  EXPECT_EQ(diagonal.vectors, (Matrix3{{{0, 0, 1}, {1, 0, 0}, {0, 1, 0}}}));
  // Grey pictures: one direction holds everything.
  const ColorComponents grey = principal_components({{{0.25, 0.25, 0.25}, {0.25, 0.25, 0.25}, {0.25, 0.25, 0.25}}});
  EXPECT_NEAR(grey.values[0], 0.75, 1e-15);
  EXPECT_NEAR(grey.values[1], 0.0, 1e-15);
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(grey.vectors[c][0], 0.5773502691896258, 1e-15);
}

TEST(ColorComponents, ReachTheTransformThatAskedForThem) {
  const auto config = [](const std::string& transforms) {
    return read_data_config(
        ConfigReader::parse("{dataset: synthetic, synthetic: {train_images: 20, test_images: 3}, image_size: 12, "
                            "train_transforms: [" +
                            transforms + "]}"));
  };
  const Data data = open_data(config("{pca_color: {std: 0.5, eigenvalues: computed}}"), {.batch_size = 4});
  ASSERT_TRUE(data.color_components.has_value());
  const auto* pca = dynamic_cast<const PcaColor*>(&data.train->set().transforms.last());
  ASSERT_NE(pca, nullptr);
  EXPECT_EQ(pca->options().std, 0.5f);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pca->options().eigenvalues[i], static_cast<float>(data.color_components->values[i]));
    EXPECT_EQ(pca->options().eigenvectors[1][i], static_cast<float>(data.color_components->vectors[1][i]));
  }
  EXPECT_FALSE(open_data(config("pca_color"), {.batch_size = 4}).color_components.has_value());
  EXPECT_TRUE(data_sizes(config("{pca_color: {eigenvalues: computed}}"), {}).has_value());
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] { config("{pca_color: {eigenvalues: computed, eigenvectors: [1, 0, 0, 0, 1, 0, 0, 0, 1]}}"); },
      {"leave them out"}));
  Pipeline unmeasured;
  unmeasured.add(std::make_shared<PcaColor>(PcaColor::Options{.is_computed = true}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([&] { settled(unmeasured, {}, std::nullopt); }, {"pca_color", "measured"}));
}

}  // namespace
}  // namespace striate
