#pragma once

#include <optional>
#include <vector>

#include "data/color_components.h"
#include "data/transforms/transform.h"

namespace striate {

/// Whether a transform wants the colours' components measured: `pca_color: {eigenvalues: computed}`.
bool wants_color_components(const Pipeline& pipeline);

/// The pipeline with what its transforms left to the training data filled in: the mean levels (of pixels in [0, 1], a
/// channel) that random_erasing fills with, and the measured colour components. Throws ConfigError where those are
/// wanted and not given.
Pipeline settled(const Pipeline& pipeline, const std::vector<double>& mean,
                 const std::optional<ColorComponents>& components);

}  // namespace striate
