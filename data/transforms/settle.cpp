#include "data/transforms/settle.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "data/transforms/color.h"
#include "data/transforms/random_erasing.h"
#include "kernels/error.h"

namespace striate {
namespace {

const PcaColor* unmeasured(const std::shared_ptr<const Transform>& transform) {
  const auto* pca = dynamic_cast<const PcaColor*>(transform.get());
  return pca != nullptr && pca->options().is_computed ? pca : nullptr;
}

}  // namespace

bool wants_color_components(const Pipeline& pipeline) {
  return std::any_of(pipeline.transforms().begin(), pipeline.transforms().end(),
                     [](const auto& transform) { return unmeasured(transform) != nullptr; });
}

Pipeline settled(const Pipeline& pipeline, const std::vector<double>& mean,
                 const std::optional<ColorComponents>& components) {
  Pipeline result;
  for (const auto& transform : pipeline.transforms()) {
    if (const PcaColor* pca = unmeasured(transform)) {
      require<ConfigError>(
          components.has_value(),
          "pca_color: eigenvalues: computed needs the training images to be measured; give eigenvalues "
          "and eigenvectors, or name a run, whose config.yaml holds what was measured");
      PcaColor::Options options{.std = pca->options().std};
      for (size_t i = 0; i < 3; ++i) {
        options.eigenvalues[i] = static_cast<float>(components->values[i]);
        for (size_t c = 0; c < 3; ++c) options.eigenvectors[c][i] = static_cast<float>(components->vectors[c][i]);
      }
      result.add(std::make_shared<PcaColor>(options));
    } else if (const auto* erasing = dynamic_cast<const RandomErasing*>(transform.get())) {
      std::array<uint8_t, 3> levels{};
      for (size_t c = 0; c < levels.size(); ++c) {
        const double level = mean.empty() ? 0.0 : 255.0 * mean[std::min(c, mean.size() - 1)];
        levels[c] = static_cast<uint8_t>(std::lround(std::clamp(level, 0.0, 255.0)));
      }
      result.add(std::make_shared<RandomErasing>(erasing->options(), levels));
    } else {
      result.add(transform);
    }
  }
  return result;
}

}  // namespace striate
