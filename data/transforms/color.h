#pragma once

#include <array>

#include "data/transforms/level_transform.h"

namespace striate {

// torchvision's adjustments of 8-bit pictures, with Pillow's arithmetic (blends truncate). A factor of 1 changes
// nothing.
void adjust_brightness(Image& image, float factor);  ///< towards black
void adjust_contrast(Image& image, float factor);    ///< towards the picture's mean luminance
void adjust_saturation(Image& image, float factor);  ///< towards its own grey; grey pictures stay
/// Towards a smoothed picture (3×3 weights of 1, 5 in the middle, over 13; the border stays).
void adjust_sharpness(Image& image, float factor, TransformScratch& scratch);
/// Turns the hue by `turn` of a full circle, in [−0.5, 0.5]; grey pictures stay.
void adjust_hue(Image& image, float turn);

/// Brightness, contrast and saturation by factors uniform in [max(0, 1 − strength), 1 + strength), hue by a turn
/// uniform in [−strength, strength), in a random order: torchvision's ColorJitter.
class ColorJitter final : public LevelTransform {
 public:
  struct Strengths {
    float brightness = 0, contrast = 0, saturation = 0, hue = 0;
  };
  explicit ColorJitter(const Strengths& strengths) : strengths_(strengths) {}
  void plan(const PictureSize& size, Random& random, LevelPlan& plan) const override;
  int most_steps() const override;
  bool has_contrast() const override { return strengths_.contrast > 0; }

 private:
  Strengths strengths_;
};

/// Adds [p1 p2 p3]·[α1λ1, α2λ2, α3λ3] to every pixel, α ~ N(0, std) drawn once a picture (Krizhevsky et al. 2012,
/// §4.1). λ and p are of pixels in [0, 1]; the default ones are ImageNet's as published with fb.resnet.torch.
class PcaColor final : public LevelTransform {
 public:
  struct Options {
    float std = 0.1f;
    std::array<float, 3> eigenvalues = {0.2175f, 0.0188f, 0.0045f};
    /// Row c holds channel c of the three eigenvectors.
    std::array<std::array<float, 3>, 3> eigenvectors = {
        {{-0.5675f, 0.7192f, 0.4009f}, {-0.5808f, -0.0045f, -0.8140f}, {-0.5836f, -0.6948f, 0.4203f}}};
    bool is_computed = false;  ///< λ and p are the training data's: settled() puts them here
  };
  explicit PcaColor(const Options& options) : options_(options) {}
  const Options& options() const { return options_; }
  /// Throws ShapeError for a grey picture.
  void plan(const PictureSize& size, Random& random, LevelPlan& plan) const override;
  int most_steps() const override { return 1; }

 private:
  Options options_;
};

}  // namespace striate
