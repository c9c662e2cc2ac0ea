#pragma once

#include <array>
#include <cstdint>

#include "data/transforms/level_transform.h"

namespace striate {

/// Overwrites a rectangle, of `scale` of the picture's area and with an aspect ratio (height/width) within `ratio`,
/// uniform in its logarithm, anywhere in the picture; where none of ten tries fits, nothing. Sizes and places are drawn
/// as torchvision's RandomErasing draws them (Zhong et al. 2020, arXiv:1708.04896). The picture has 8-bit levels here
/// where torchvision's is normalised: `mean` fills with the levels next to what the network sees as 0, torchvision's
/// default, and `random` with levels uniform from 0 to 255, a draw a channel of each pixel, as the paper does.
class RandomErasing final : public LevelTransform {
 public:
  enum class Fill { mean, black, random };
  struct Options {
    double probability = 0.5;
    double scale_min = 0.02, scale_max = 0.33;
    double ratio_min = 0.3, ratio_max = 3.3;
    Fill fill = Fill::mean;
  };
  /// `mean`: the levels that Fill::mean fills with; black until settled() knows them.
  explicit RandomErasing(const Options& options, const std::array<uint8_t, 3>& mean = {})
      : options_(options), mean_(mean) {}
  void plan(const PictureSize& size, Random& random, LevelPlan& plan) const override;
  int most_steps() const override { return 1; }
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::array<uint8_t, 3> mean_;
};

}  // namespace striate
