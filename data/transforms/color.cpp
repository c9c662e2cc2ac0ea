#include "data/transforms/color.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/error.h"
#include "kernels/image_batch/levels.h"

namespace striate {
namespace {

void adjust(Image& image, LevelStepKind kind, float amount) {
  LevelStep step{.kind = kind};
  step.amount[0] = amount;
  apply_level_step(step, image);
}

}  // namespace

void adjust_brightness(Image& image, float factor) { adjust(image, LevelStepKind::brightness, factor); }
void adjust_contrast(Image& image, float factor) { adjust(image, LevelStepKind::contrast, factor); }
void adjust_saturation(Image& image, float factor) { adjust(image, LevelStepKind::saturation, factor); }
void adjust_hue(Image& image, float turn) { adjust(image, LevelStepKind::hue, turn); }

void adjust_sharpness(Image& image, float factor, TransformScratch& scratch) {
  Image& sharp = scratch.image;
  sharp.reshape(image.height, image.width, image.channels);
  sharp.pixels = image.pixels;
  const int c = image.channels;
  for (int y = 1; y + 1 < image.height; ++y) {
    for (int i = c; i + c < image.width * c; ++i) {
      int sum = 4 * sharp.row(y)[i];
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -c; dx <= c; dx += c) sum += sharp.row(y + dy)[i + dx];
      }
      const int smooth = static_cast<int>(static_cast<double>(sum) / 13.0 + 0.5);
      image.row(y)[i] = static_cast<uint8_t>(levels::blend(smooth, sharp.row(y)[i], factor));
    }
  }
}

int ColorJitter::most_steps() const {
  const auto& s = strengths_;
  return (s.brightness > 0) + (s.contrast > 0) + (s.saturation > 0) + (s.hue > 0);
}

void ColorJitter::plan(const PictureSize&, Random& random, LevelPlan& plan) const {
  std::array<int, 4> order = {0, 1, 2, 3};
  for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  // Every draw is made whether it is needed or not: a strength of 0 does not shift the others' draws.
  const auto factor = [&](float strength) {
    const float low = std::max(0.0f, 1.0f - strength);
    return low + (1.0f + strength - low) * random.uniform();
  };
  const float brightness = factor(strengths_.brightness), contrast = factor(strengths_.contrast);
  const float saturation = factor(strengths_.saturation), hue = strengths_.hue * (2.0f * random.uniform() - 1.0f);
  for (const int which : order) {
    const auto add = [&](int here, float strength, LevelStepKind kind, float amount) {
      if (which == here && strength > 0) plan.add(kind).amount[0] = amount;
    };
    add(0, strengths_.brightness, LevelStepKind::brightness, brightness);
    add(1, strengths_.contrast, LevelStepKind::contrast, contrast);
    add(2, strengths_.saturation, LevelStepKind::saturation, saturation);
    add(3, strengths_.hue, LevelStepKind::hue, hue);
  }
}

void PcaColor::plan(const PictureSize& size, Random& random, LevelPlan& plan) const {
  require<ShapeError>(size.channels == 3, "pca_color: expected an RGB image, found {} channel", size.channels);
  std::array<float, 3> weighted;
  for (int i = 0; i < 3; ++i) weighted[i] = options_.std * random.normal() * options_.eigenvalues[i];
  LevelStep& step = plan.add(LevelStepKind::shift);
  for (int c = 0; c < 3; ++c) {
    float shift = 0.5f;  // rounds
    for (int i = 0; i < 3; ++i) shift += 255.0f * options_.eigenvectors[c][i] * weighted[i];
    step.amount[c] = shift;
  }
}

}  // namespace striate
