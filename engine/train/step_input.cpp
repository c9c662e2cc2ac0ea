#include "engine/train/step_input.h"

#include <utility>

#include "engine/storage.h"

namespace striate {

StepInput::StepInput(const Batch& first, Device device)
    : images_(first.images),
      labels_(Tensor::empty({first.labels.size()}, DType::int32, device)),
      of_source_(first.images.device() == device) {
  if (!of_source_) images_ = Tensor::empty(first.images.shape(), first.images.dtype(), device);
}

bool StepInput::load(const Batch& batch) {
  labels_.copy_from(batch.labels);
  const bool is_there = of_source_ && batch.images.shape() == images_.shape() &&
                        batch.images.impl()->storage->data() == images_.impl()->storage->data();
  if (is_there) return true;
  // What the source gave before is not ours to write to.
  const bool moves = std::exchange(of_source_, false);
  if (moves) images_ = Tensor::empty(images_.shape(), images_.dtype(), images_.device());
  images_.copy_from(batch.images);
  return !moves;
}

Batch StepInput::batch() const {
  Batch loaded;
  loaded.images = images_;
  loaded.labels = labels_;
  return loaded;
}

}  // namespace striate
