#include "data/transforms/transform.h"

#include <algorithm>

namespace striate {

Random Pipeline::draws(uint64_t seed, int64_t epoch, int64_t sample, size_t position) {
  return Random(seed, RandomPurpose::augmentation, static_cast<uint64_t>(epoch) << 40 | static_cast<uint64_t>(sample),
                static_cast<uint32_t>(position));
}

void Pipeline::apply(Image& image, uint64_t seed, int64_t epoch, int64_t sample, TransformScratch& scratch,
                     size_t first, size_t end) const {
  for (size_t position = first; position < std::min(end, transforms_.size()); ++position) {
    Random random = draws(seed, epoch, sample, position);
    transforms_[position]->apply(image, random, scratch);
  }
}

size_t Pipeline::frame(Framing& framing, uint64_t seed, int64_t epoch, int64_t sample, size_t first) const {
  for (size_t position = first; position < transforms_.size(); ++position) {
    Random random = draws(seed, epoch, sample, position);
    if (!transforms_[position]->frame(framing, random)) return position;
  }
  return transforms_.size();
}

}  // namespace striate
