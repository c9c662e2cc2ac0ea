#include "data/transforms/random_erasing.h"

#include <algorithm>
#include <cmath>

namespace striate {

void RandomErasing::plan(const PictureSize& size, Random& random, LevelPlan& plan) const {
  if (random.uniform() >= options_.probability) return;
  const double area = static_cast<double>(size.height) * size.width;
  const double log_min = std::log(options_.ratio_min), log_max = std::log(options_.ratio_max);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double erased = area * (options_.scale_min + (options_.scale_max - options_.scale_min) * random.uniform());
    const double ratio = std::exp(log_min + (log_max - log_min) * random.uniform());
    const double rows = std::nearbyint(std::sqrt(erased * ratio)), columns = std::nearbyint(std::sqrt(erased / ratio));
    if (!(rows < size.height && columns < size.width)) continue;
    const int height = static_cast<int>(rows), width = static_cast<int>(columns);
    LevelStep& step = plan.add(options_.fill == Fill::random ? LevelStepKind::erase_randomly : LevelStepKind::erase);
    step.top = static_cast<int>(random.below(static_cast<uint64_t>(size.height - height + 1)));
    step.left = static_cast<int>(random.below(static_cast<uint64_t>(size.width - width + 1)));
    step.bottom = step.top + height;
    step.right = step.left + width;
    if (options_.fill == Fill::mean) std::copy(mean_.begin(), mean_.end(), step.fill);
    const Random::Position next = random.position();
    step.first_word = next.word;
    std::copy(next.stream.begin(), next.stream.end(), step.stream);
    std::copy(next.key.begin(), next.key.end(), step.key);
    return;
  }
}

}  // namespace striate
