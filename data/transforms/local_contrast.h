#pragma once

#include <vector>

#include "data/transforms/transform.h"

namespace striate {

/// Local contrast normalisation (Jarrett et al. 2009, §2.1), as a retina would: every pixel as the deviation from the
/// mean of what surrounds it, in units of the standard deviation there,
///   y_c = 128 + 42·(x_c − m_c)/max(s, floor)   rounded, within [0, 255],
/// with m_c the Gaussian mean of channel c about the pixel and s² the Gaussian mean of (x_c − m_c)² over all channels.
/// What is smooth becomes grey, and an edge is as strong in the shade as in the sun. Weights beyond 3 sigma are left
/// out; at the border, what lies inside the picture is weighted up.
class LocalContrast final : public Transform {
 public:
  /// `sigma` in pixels, above 0; `floor` in levels of 255, above 0: noise fainter than this stays faint.
  LocalContrast(double sigma, double floor);
  void apply(Image& image, Random& random, TransformScratch& scratch) const override;

 private:
  std::vector<float> weights_;  // [0] in the middle
  float floor_;
};

}  // namespace striate
