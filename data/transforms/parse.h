#pragma once

#include <string>

#include "data/transforms/transform.h"
#include "engine/config.h"

namespace striate {

/// The transforms listed under a key, in order; an empty pipeline where the key is absent.
///   resize: S | [H, W]                 center_crop: S | [H, W]
///   random_crop: {size: S | [H, W], padding: 0}
///   random_resized_crop: {size: S | [H, W], scale: [0.08, 1], ratio: [0.75, 1.3333]}
///   pad: N     horizontal_flip: 0.5    rotation: {degrees: D, interpolation: nearest | bilinear}
///   color_jitter: {brightness: 0, contrast: 0, saturation: 0, hue: 0}
///   rand_augment: {operations: 2, magnitude: 9}
///   random_erasing: {probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: mean | black | random}
///   pca_color: {std: 0.1, eigenvalues: [3 numbers], eigenvectors: [9 numbers, a channel a row]}
///   pca_color: {std: 0.1, eigenvalues: computed}   measured on the training data: settled() puts the numbers in
///   local_contrast: {sigma: 3, floor: 8}
/// A transform's first option may stand for the whole map; one whose options all have defaults may be a bare word.
/// Throws ConfigError with file, line and key for unknown names (with the nearest), unknown options and bad values.
Pipeline parse_transforms(ConfigReader& reader, const std::string& key);

}  // namespace striate
