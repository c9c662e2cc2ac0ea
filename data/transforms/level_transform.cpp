#include "data/transforms/level_transform.h"

#include <array>

#include "kernels/error.h"

namespace striate {

LevelStep& LevelPlan::add(LevelStepKind kind) {
  require<Error>(static_cast<size_t>(size_) < room_.size(), "transforms: a picture has more steps than the {} planned",
                 room_.size());
  LevelStep& step = room_[static_cast<size_t>(size_++)];
  step = {};
  step.kind = kind;
  return step;
}

void LevelTransform::apply(Image& image, Random& random, TransformScratch&) const {
  std::array<LevelStep, ImageBatchShape::kMostSteps> steps;
  LevelPlan planned(steps);
  plan({image.height, image.width, image.channels}, random, planned);
  for (int i = 0; i < planned.size(); ++i) apply_level_step(steps[static_cast<size_t>(i)], image);
}

void apply_level_step(const LevelStep& step, Image& image) {
  cpu::apply_level_step(step, image.pixels.data(), image.height, image.width, image.channels);
}

}  // namespace striate
