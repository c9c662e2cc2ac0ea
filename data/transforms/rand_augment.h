#pragma once

#include <array>

#include "data/transforms/transform.h"

namespace striate {

/// The operations that RandAugment chooses from, as torchvision has them, with Pillow's arithmetic.
enum class AugmentOperation {
  identity,
  shear_x,
  shear_y,
  translate_x,
  translate_y,
  rotate,
  brightness,
  color,
  contrast,
  sharpness,
  posterize,
  solarize,
  auto_contrast,
  equalize
};
inline constexpr int kAugmentOperations = 14;

/// One operation at a magnitude from 0 to 30: shears up to 0.3 of the side, moves up to 150/331 of it, turns up to 30°,
/// colour factors up to 1.9, posterizes down to 4 bits, solarizes from level 255 down to 0. `negative` turns round
/// those that have a direction, and factors to 1 − …; nearest neighbour, black from outside.
void augment(Image& image, AugmentOperation operation, int magnitude, bool negative, TransformScratch& scratch);

/// `operations` of the list at random, one after another, all at one magnitude: RandAugment (Cubuk et al. 2020,
/// arXiv:1909.13719).
class RandAugment final : public Transform {
 public:
  static constexpr int kLargestMagnitude = 30;
  RandAugment(int operations, int magnitude) : operations_(operations), magnitude_(magnitude) {}
  void apply(Image& image, Random& random, TransformScratch& scratch) const override;

 private:
  int operations_, magnitude_;
};

}  // namespace striate
