#pragma once

#include "data/transforms/transform.h"

namespace striate {

/// Resizes as Pillow's antialiased bilinear does: a triangle filter as wide as the reduction, applied first along rows
/// and then along columns, weights in fixed point with 22 fractional bits, rounded to 8 bits in between (Pillow,
/// src/libImaging/Resample.c). Equal bit for bit, but where Pillow 13 takes the columns first (it does when the height
/// shrinks more): there a pixel may differ by one level. `from` and `to` must be different pictures; all sizes > 0.
void resize_bilinear(const Image& from, int height, int width, Image& to, TransformScratch& scratch);

/// `resize: S`: the shorter side becomes S and the other int(S·long/short), as in torchvision.
/// `resize: [H, W]`: both sides.
class Resize final : public Transform {
 public:
  explicit Resize(int shorter_side) : shorter_side_(shorter_side) {}
  Resize(int height, int width) : height_(height), width_(width) {}
  void apply(Image& image, Random& random, TransformScratch& scratch) const override;

 private:
  int shorter_side_ = 0, height_ = 0, width_ = 0;
};

}  // namespace striate
