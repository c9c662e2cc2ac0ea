#pragma once

#include <optional>

#include "data/config.h"
#include "data/normalization.h"
#include "data/transforms/transform.h"

namespace striate {

/// A mean image with the deviations that a configuration gives beside it.
Normalization with_mean_image(const DataConfig& config, int channels, MeanImage image);

/// The normalization that a configuration states; nothing where it must be measured (`computed`). Throws IoError where
/// it names a mean image that cannot be read.
std::optional<Normalization> known_normalization(const DataConfig& config, int channels);

/// What `normalize: dataset` is: the published mean and deviation of the dataset, or, of a packed file, of what it was
/// made from. Empty where there are none.
Normalization dataset_normalization(const DataConfig& config);

/// How a network sees a picture when it is tested, for pictures that are of no dataset.
struct TestView {
  Pipeline transforms;  ///< from a picture as it was read to [height, width, channels]
  Normalization normalization;
  int height = 0, width = 0, channels = 0;
};

/// That of a configuration for a network of this input, no dataset's file being opened but the head of a packed one for
/// its normalization: its test transforms, or a resize of both sides where it lists none. Throws ConfigError where the
/// normalization must be measured.
TestView test_view(const DataConfig& config, int height, int width, int channels);

}  // namespace striate
