#include "data/transforms/resize.h"

#include <algorithm>

#include "kernels/error.h"

namespace striate {

bool Resize::frame(Framing& framing, Random&) const {
  int height = height_, width = width_;
  if (shorter_side_ > 0) {
    const int shorter = std::min(framing.height(), framing.width());
    const int longer = std::max(framing.height(), framing.width());
    const int64_t long_side = int64_t{shorter_side_} * longer / shorter;
    require<ShapeError>(long_side * shorter_side_ <= kMostPixels,
                        "resize: a {}×{} image with its shorter side at {} would have {}×{} pixels", framing.height(),
                        framing.width(), shorter_side_, shorter_side_, long_side);
    const bool is_wide = framing.height() <= framing.width();
    height = is_wide ? shorter_side_ : static_cast<int>(long_side);
    width = is_wide ? static_cast<int>(long_side) : shorter_side_;
  }
  if (height == framing.height() && width == framing.width()) return true;
  if (!framing.resizable()) return false;
  framing.resize(height, width);
  return true;
}

std::string Resize::text() const {
  return shorter_side_ > 0 ? fmt::format("{}", shorter_side_) : fmt::format("[{}, {}]", height_, width_);
}

}  // namespace striate
