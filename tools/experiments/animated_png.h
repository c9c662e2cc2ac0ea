#pragma once

#include <string>
#include <vector>

#include "data/image.h"

namespace striate {

/// A picture of a film, shown for so long.
struct FilmFrame {
  Image image;
  double seconds = 0.1;  ///< in whole hundredths; at most 655
};

/// The bytes of an animated PNG (https://www.w3.org/TR/png-3/) that loops for ever; what shows no animation shows the
/// first frame. Throws ShapeError for no frames, and unless all are RGB of one size.
std::string encode_animated_png(const std::vector<FilmFrame>& frames);

}  // namespace striate
