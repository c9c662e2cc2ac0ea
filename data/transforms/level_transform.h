#pragma once

#include <span>

#include "data/transforms/transform.h"
#include "kernels/image_batch/image_batch.h"

namespace striate {

/// What a transform of levels must know of a picture: not its pixels.
struct PictureSize {
  int height = 0, width = 0, channels = 0;
};

/// The steps that are planned for one picture, in memory of its own.
class LevelPlan {
 public:
  explicit LevelPlan(std::span<LevelStep> room) : room_(room) {}
  int size() const { return size_; }
  /// The next step, `kind` alone set. Throws Error where there is no room.
  LevelStep& add(LevelStepKind kind);

 private:
  std::span<LevelStep> room_;
  int size_ = 0;
};

/// A transform of levels that keeps the picture's size. It is written once, as the steps that it takes, which a device
/// can take as well: kernels/image_batch.
class LevelTransform : public Transform {
 public:
  /// Adds its steps for one picture, with every draw. Throws ShapeError if the picture does not fit.
  virtual void plan(const PictureSize& size, Random& random, LevelPlan& plan) const = 0;
  virtual int most_steps() const = 0;  ///< that plan() adds; ImageBatchShape::kMostSteps at most
  virtual bool has_contrast() const { return false; }
  void apply(Image& image, Random& random, TransformScratch& scratch) const final;
};

/// One step by itself.
void apply_level_step(const LevelStep& step, Image& image);

}  // namespace striate
