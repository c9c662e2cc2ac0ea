#include "data/transforms/parse.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/error.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"

namespace striate {
namespace {

using test::formula_picture;

Pipeline parse(const std::string& list) {
  ConfigReader reader = ConfigReader::parse("transforms: " + list);
  Pipeline pipeline = parse_transforms(reader, "transforms");
  reader.finish();
  return pipeline;
}

/// The size of a 40×60 RGB picture after the transforms.
std::pair<int, int> size_after(const std::string& list) {
  Image image = formula_picture(40, 60, 3);
  TransformScratch scratch;
  parse(list).apply(image, 1, 0, 0, scratch);
  return {image.height, image.width};
}

using Size = std::pair<int, int>;

TEST(ParseTransforms, EveryTransformInItsForms) {
  EXPECT_EQ(size_after("[]"), Size(40, 60));
  EXPECT_EQ(size_after("[{resize: 20}]"), Size(20, 30));
  EXPECT_EQ(size_after("[{resize: [20, 25]}]"), Size(20, 25));
  EXPECT_EQ(size_after("[{resize: {size: [20, 25]}}]"), Size(20, 25));
  EXPECT_EQ(size_after("[{center_crop: 20}]"), Size(20, 20));
  EXPECT_EQ(size_after("[{center_crop: [10, 30]}]"), Size(10, 30));
  EXPECT_EQ(size_after("[{random_crop: {size: 44, padding: 2}}]"), Size(44, 44));
  EXPECT_EQ(size_after("[{random_crop: 32}]"), Size(32, 32));
  EXPECT_EQ(size_after("[{random_resized_crop: {size: 16, scale: [0.5, 1.0], ratio: [1, 1]}}]"), Size(16, 16));
  EXPECT_EQ(size_after("[{pad: 2}]"), Size(44, 64));
  EXPECT_EQ(size_after("[horizontal_flip, {horizontal_flip: 0.3}, {rotation: 5}, {rotation: {degrees: 5}}]"),
            Size(40, 60));
  EXPECT_EQ(size_after("[{rotation: {degrees: 5, interpolation: bilinear}}]"), Size(40, 60));
  EXPECT_EQ(size_after("[{color_jitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1}}, pca_color]"),
            Size(40, 60));
  EXPECT_EQ(size_after("[rand_augment, {rand_augment: 3}, {rand_augment: {operations: 1, magnitude: 30}}]"),
            Size(40, 60));
  EXPECT_EQ(size_after("[{pca_color: {std: 0.1, eigenvalues: [1, 2, 3], eigenvectors: [1, 0, 0, 0, 1, 0, 0, 0, 1]}}]"),
            Size(40, 60));
  EXPECT_EQ(size_after("[{resize: 46}, horizontal_flip, {random_crop: 44}]"), Size(44, 44));
}

TEST(ParseTransforms, AFlipOfProbabilityOneFlips) {
  Image image = formula_picture(1, 2, 1);
  TransformScratch scratch;
  parse("[{horizontal_flip: 1}]").apply(image, 1, 0, 0, scratch);
  EXPECT_EQ(image.pixels[0], formula_picture(1, 2, 1).pixels[1]);
}

TEST(ParseTransforms, UnknownNamesNameTheNearest) {
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{radom_crop: 32}]"); }, {"radom_crop", "'random_crop'"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { parse("[flip_it_all]"); }, {"flip_it_all", "horizontal_flip", "resize"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { parse("[{random_crop: {size: 32, pading: 4}}]"); }, {"pading", "padding"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { parse("[{random_crop: {size: 32}, resize: 4}]"); }, {"item of its own"}));
}

TEST(ParseTransforms, BadValuesAreRefused) {
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("{resize: 3}"); }, {"transforms", "list"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[resize]"); }, {"size", "must be given"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{resize: big}]"); }, {"resize", "big"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{resize: 0}]"); }, {"resize", "found 0"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{resize: 2.5}]"); }, {"found 2.5"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{resize: [1, 2, 3]}]"); }, {"found 3 numbers"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { parse("[{random_crop: {padding: 4}}]"); }, {"size", "must be given"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { parse("[{random_crop: {size: 4, padding: -1}}]"); }, {"padding", "-1"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{horizontal_flip: 2}]"); }, {"horizontal_flip", "found 2"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[rotation]"); }, {"degrees", "must be given"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{rotation: {degrees: 5, interpolation: bilinaer}}]"); },
                                             {"bilinear"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{color_jitter: {hue: 0.7}}]"); }, {"hue", "0.7"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{random_resized_crop: {size: 4, scale: [0.5, 2]}}]"); },
                                             {"scale", "found 2"}));
  EXPECT_TRUE(
      test::throws_with<ConfigError>([] { parse("[{random_resized_crop: {size: 4, ratio: [2, 1]}}]"); }, {"ratio"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([] { parse("[{pca_color: {eigenvalues: [1, 2, 3]}}]"); },
                                             {"eigenvectors", "together"}));
}

}  // namespace
}  // namespace striate
