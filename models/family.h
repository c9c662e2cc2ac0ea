#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "models/model_config.h"

namespace striate::models {

/// What every family of models can be asked for, with the model's own defaults filled in.
struct FamilyOptions {
  Shape input;  ///< [H,W,C]
  int64_t classes = 0;
  double width = 1.0;
  float dropout = 0.5f;
  DropoutPlace dropout_place = DropoutPlace::before_linear;
  Activation activation = Activation::relu;
  Stem stem = Stem::automatic;

  /// A layer's channels times `width`: a positive multiple of `multiple`.
  int64_t scaled(int64_t channels, int64_t multiple = 1) const {
    const double steps = std::round(width * static_cast<double>(channels) / static_cast<double>(multiple));
    return multiple * std::max<int64_t>(1, static_cast<int64_t>(steps));
  }
};

}  // namespace striate::models
