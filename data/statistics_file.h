#pragma once

#include <functional>
#include <string>

#include "data/normalization.h"

namespace striate {

/// A normalization from `file` if it was measured on the data that `data` describes; else `measure()`, which is then
/// written to the file. Throws IoError if the file cannot be written.
Normalization cached_normalization(const std::string& file, const std::string& data, int channels,
                                   const std::function<Normalization()>& measure);

}  // namespace striate
