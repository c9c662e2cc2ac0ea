#include "data/transforms/rand_augment.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "data/transforms/color.h"
#include "tests/data/picture_formula.h"

// Fingerprints of what Pillow 13.0.0 makes of the same pictures, by the operations that torchvision's RandAugment
// calls: Image.transform(AFFINE, NEAREST), Image.rotate, ImageEnhance, ImageOps.
namespace striate {
namespace {

using test::formula_picture;

/// 32-bit FNV-1a, to compare pictures too large to write down.
uint32_t fingerprint(const Image& image) {
  uint32_t hash = 2166136261u;
  for (const uint8_t pixel : image.pixels) hash = (hash ^ pixel) * 16777619u;
  return hash;
}

struct Expected {
  const char* name;
  AugmentOperation operation;
  uint32_t nine, nine_negative, thirty, thirty_negative;
};

class AugmentOperations : public testing::TestWithParam<Expected> {};

TEST_P(AugmentOperations, EqualPillow) {
  const Expected& expected = GetParam();
  const auto made = [&](int magnitude, bool negative) {
    Image image = formula_picture(23, 31, 3);
    TransformScratch scratch;
    augment(image, expected.operation, magnitude, negative, scratch);
    EXPECT_EQ(image.height, 23);
    EXPECT_EQ(image.width, 31);
    return fingerprint(image);
  };
  EXPECT_EQ(made(9, false), expected.nine);
  EXPECT_EQ(made(9, true), expected.nine_negative);
  EXPECT_EQ(made(30, false), expected.thirty);
  EXPECT_EQ(made(30, true), expected.thirty_negative);
}

using Op = AugmentOperation;
INSTANTIATE_TEST_SUITE_P(
    Each, AugmentOperations,
    testing::Values(Expected{"shear_x", Op::shear_x, 0x77bee849, 0x3badf02f, 0x5193d669, 0x5bcf39c5},
                    Expected{"shear_y", Op::shear_y, 0x7b8075f8, 0x153b53f2, 0xfc2ddc00, 0x85885d70},
                    Expected{"translate_x", Op::translate_x, 0xd0722c27, 0x3416d375, 0x91c940f3, 0x637b93b5},
                    Expected{"translate_y", Op::translate_y, 0x95faf50b, 0x097feb73, 0x11194f1e, 0xd7ea09f6},
                    Expected{"rotate", Op::rotate, 0x548efb24, 0xa45390f0, 0x358bd92f, 0xec894107},
                    Expected{"brightness", Op::brightness, 0x9faa14c6, 0xeb6aaa63, 0xf7da97d0, 0x3746ec53},
                    Expected{"color", Op::color, 0xc6e91350, 0x7f6ab126, 0x53e6f318, 0xb938c14b},
                    Expected{"contrast", Op::contrast, 0xe94b18c3, 0xcbe2ee0a, 0x1b58f9d6, 0x530edaed},
                    Expected{"sharpness", Op::sharpness, 0x23f5b17e, 0x88e4f265, 0xbb0b6970, 0x52e577ea},
                    Expected{"posterize", Op::posterize, 0xf69e10ad, 0xf69e10ad, 0x236bc6c7, 0x236bc6c7},
                    Expected{"solarize", Op::solarize, 0x0d381435, 0x0d381435, 0x8dcc05df, 0x8dcc05df}),
    [](const auto& tested) { return std::string(tested.param.name); });

/// All magnitudes in both directions, one fingerprint, by torchvision 0.29's autoaugment._apply_op itself: ties of the
/// nearest pixel and of levels fall as they do there.
TEST(RandAugment, EveryMagnitudeEqualsTorchvision) {
  const std::pair<AugmentOperation, uint32_t> expected[] = {
      {Op::shear_x, 0x4973a10a},     {Op::shear_y, 0x1f296c34},  {Op::translate_x, 0xad8d5a47},
      {Op::translate_y, 0x986b2e31}, {Op::rotate, 0xc83fbbd2},   {Op::brightness, 0x99765593},
      {Op::color, 0x7b981900},       {Op::contrast, 0x0373ae14}, {Op::sharpness, 0xe8fb1cb8},
      {Op::posterize, 0xc4d12965},   {Op::solarize, 0xf22feb29}};
  TransformScratch scratch;
  for (const auto& [operation, print] : expected) {
    uint32_t hash = 2166136261u;
    for (int magnitude = 0; magnitude <= RandAugment::kLargestMagnitude; ++magnitude) {
      for (const bool negative : {false, true}) {
        Image image = formula_picture(23, 31, 3);
        augment(image, operation, magnitude, negative, scratch);
        for (const uint8_t pixel : image.pixels) hash = (hash ^ pixel) * 16777619u;
      }
    }
    EXPECT_EQ(hash, print) << "operation " << static_cast<int>(operation);
  }
}

TEST(RandAugment, StretchesAndEqualizesAsPillow) {
  TransformScratch scratch;
  Image dark = formula_picture(23, 31, 3);
  for (auto& pixel : dark.pixels) pixel = static_cast<uint8_t>(40 + pixel / 3);
  augment(dark, AugmentOperation::auto_contrast, 9, false, scratch);
  EXPECT_EQ(fingerprint(dark), 0x9d182f46u);
  Image uneven = formula_picture(40, 50, 3);
  for (auto& pixel : uneven.pixels) pixel = static_cast<uint8_t>(pixel * pixel / 300);
  augment(uneven, AugmentOperation::equalize, 9, false, scratch);
  EXPECT_EQ(fingerprint(uneven), 0x1bd74988u);

  Image flat;
  flat.reshape(4, 4, 1);
  for (auto& pixel : flat.pixels) pixel = 77;
  for (const auto operation : {AugmentOperation::auto_contrast, AugmentOperation::equalize}) {
    augment(flat, operation, 9, false, scratch);
    EXPECT_EQ(flat.pixels, std::vector<uint8_t>(16, 77)) << "one level alone stays";
  }
}

TEST(RandAugment, NothingAtMagnitudeNought) {
  TransformScratch scratch;
  for (int i = 0; i < kAugmentOperations; ++i) {
    const auto operation = static_cast<AugmentOperation>(i);
    if (operation == AugmentOperation::auto_contrast || operation == AugmentOperation::equalize) continue;
    Image image = formula_picture(12, 14, 3);
    augment(image, operation, 0, false, scratch);
    // Solarizing from level 255 on turns that level alone round.
    const bool solarized = operation == AugmentOperation::solarize;
    for (size_t p = 0; p < image.pixels.size(); ++p) {
      const uint8_t before = formula_picture(12, 14, 3).pixels[p];
      ASSERT_EQ(image.pixels[p], solarized && before == 255 ? 0 : before) << "operation " << i << " at " << p;
    }
  }
}

TEST(RandAugment, ChoosesAmongAllByTheStreamAlone) {
  const RandAugment transform(2, 9);
  TransformScratch scratch;
  std::set<uint32_t> seen;
  for (uint64_t sample = 0; sample < 300; ++sample) {
    uint32_t prints[2];
    for (uint32_t& print : prints) {
      Image image = formula_picture(16, 16, 3);
      Random random(1, RandomPurpose::augmentation, sample);
      transform.apply(image, random, scratch);
      print = fingerprint(image);
    }
    ASSERT_EQ(prints[0], prints[1]);
    seen.insert(prints[0]);
  }
  EXPECT_GT(seen.size(), 120u);
  Image grey = formula_picture(9, 9, 1);
  for (uint64_t sample = 0; sample < 100; ++sample) {
    Random random(2, RandomPurpose::augmentation, sample);
    transform.apply(grey, random, scratch);
  }
  EXPECT_EQ(grey.channels, 1);
}

}  // namespace
}  // namespace striate
