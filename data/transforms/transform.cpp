#include "data/transforms/transform.h"

namespace striate {

void Pipeline::apply(Image& image, uint64_t seed, int64_t epoch, int64_t sample, TransformScratch& scratch) const {
  for (size_t position = 0; position < transforms_.size(); ++position) {
    Random random(seed, RandomPurpose::augmentation, static_cast<uint64_t>(epoch) << 40 | static_cast<uint64_t>(sample),
                  static_cast<uint32_t>(position));
    transforms_[position]->apply(image, random, scratch);
  }
}

}  // namespace striate
