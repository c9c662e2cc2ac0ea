#pragma once

#include "data/transforms/framing.h"

namespace striate {

/// The window [height, width] at (top, left) of a picture that is surrounded by black. `to` must not be `from`.
void crop(const Image& from, int top, int left, int height, int width, Image& to);

/// Black pixels round the picture.
class Pad final : public GeometricTransform {
 public:
  explicit Pad(int padding) : padding_(padding) {}
  bool frame(Framing& framing, Random& random) const override;

 private:
  int padding_;
};

/// The middle of the picture. Half a pixel rounds to even, as in torchvision. Throws ShapeError if the picture is
/// smaller than the crop.
class CenterCrop final : public GeometricTransform {
 public:
  CenterCrop(int height, int width) : height_(height), width_(width) {}
  bool frame(Framing& framing, Random& random) const override;

 private:
  int height_, width_;
};

/// Ten pictures [height, width] one below the other: the crops at the upper left, upper right, lower left and lower
/// right corner and in the middle (as CenterCrop's), then the same five mirrored left and right (Krizhevsky et al.
/// 2012, §4.1). Throws ShapeError if the picture is smaller than a crop.
class TenCrop final : public Transform {
 public:
  static constexpr int kCrops = 10;
  TenCrop(int height, int width) : height_(height), width_(width) {}
  void apply(Image& image, Random& random, TransformScratch& scratch) const override;

 private:
  int height_, width_;
};

/// A window anywhere in the picture, after `padding` black pixels are added on every side. Throws ShapeError if the
/// padded picture is smaller than the crop.
class RandomCrop final : public GeometricTransform {
 public:
  RandomCrop(int height, int width, int padding) : height_(height), width_(width), padding_(padding) {}
  bool frame(Framing& framing, Random& random) const override;

 private:
  int height_, width_, padding_;
};

/// A window of random area (a share of the picture within `scale`) and aspect ratio (width/height within `ratio`,
/// uniform in its logarithm), resized to [height, width]. Ten tries, then the largest central window whose ratio is
/// allowed: torchvision's RandomResizedCrop.
class RandomResizedCrop final : public GeometricTransform {
 public:
  struct Options {
    int height = 0, width = 0;
    double scale_min = 0.08, scale_max = 1.0;
    double ratio_min = 3.0 / 4.0, ratio_max = 4.0 / 3.0;
  };
  explicit RandomResizedCrop(const Options& options) : options_(options) {}
  bool frame(Framing& framing, Random& random) const override;

 private:
  Options options_;
};

}  // namespace striate
