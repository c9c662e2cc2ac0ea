#pragma once

#include <array>

#include "data/transforms/framing.h"

namespace striate {

/// Mirrors left and right.
void flip_horizontally(Image& image);

/// out(x, y) = in(m[0]·x + m[1]·y + m[2], m[3]·x + m[4]·y + m[5]), nearest neighbour; black where that lies outside.
/// Pixel centres lie at half integers and the map is rounded to 16 fractional bits, as in Pillow's Image.transform.
/// `from` and `to` must be different pictures.
void map_affinely(const Image& from, const std::array<double, 6>& m, Image& to);

/// Turns a picture counter-clockwise about its centre; what comes in from outside is black. Pixel centres lie at half
/// integers, as in Pillow's rotate. `from` and `to` must be different pictures.
void rotate(const Image& from, double degrees, bool bilinear, Image& to);

class HorizontalFlip final : public GeometricTransform {
 public:
  explicit HorizontalFlip(double probability = 0.5) : probability_(probability) {}
  bool frame(Framing& framing, Random& random) const override;

 private:
  double probability_;
};

/// An angle uniform in [−degrees, degrees); nearest neighbour unless `bilinear`, as in torchvision.
class Rotation final : public Transform {
 public:
  Rotation(double degrees, bool bilinear) : degrees_(degrees), bilinear_(bilinear) {}
  void apply(Image& image, Random& random, TransformScratch& scratch) const override;

 private:
  double degrees_;
  bool bilinear_;
};

}  // namespace striate
