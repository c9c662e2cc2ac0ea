#pragma once

#include "engine/train/batch_source.h"

namespace striate {

/// A batch in memory of a device that stays the same from step to step: a captured step reads every batch there. What
/// it is loaded with is on its way in the order of the device's work; the host does not wait.
class StepInput {
 public:
  /// For batches of the shape of this one, and in its memory, where its images lie on the device: a source that gives
  /// them there every time is spared a copy.
  StepInput(const Batch& first, Device device);

  bool fits(const Batch& batch) const { return batch.images.shape() == images_.shape(); }
  /// The batch's images and labels, from the host or the device itself. False where batch() lies elsewhere from now on.
  /// Throws ShapeError unless it fits.
  bool load(const Batch& batch);
  /// The batch that was loaded, on the device.
  Batch batch() const;

 private:
  Tensor images_, labels_;
  bool of_source_;  // the images' memory
};

}  // namespace striate
