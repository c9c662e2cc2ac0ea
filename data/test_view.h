#pragma once

#include <optional>

#include "data/config.h"
#include "data/normalization.h"
#include "data/transforms/transform.h"

namespace striate {

/// The normalization that a configuration states; nothing where it must be measured (`computed`).
std::optional<Normalization> known_normalization(const DataConfig& config, int channels);

/// How a network sees a picture when it is tested, for pictures that are of no dataset.
struct TestView {
  Pipeline transforms;  ///< from a picture as it was read to [height, width, channels]
  Normalization normalization;
  int height = 0, width = 0, channels = 0;
};

/// That of a configuration for a network of this input, no dataset's file being opened: its test transforms, or a
/// resize of both sides where it lists none. Throws ConfigError where the normalization must be measured.
TestView test_view(const DataConfig& config, int height, int width, int channels);

}  // namespace striate
