#pragma once

#include <functional>

namespace striate {

/// Rows [top, top + height) and columns [left, left + width).
struct Window {
  int top = 0, left = 0, height = 0, width = 0;

  int bottom() const { return top + height; }
  int right() const { return left + width; }
  bool operator==(const Window&) const = default;
};

/// Pixels of a picture that are needed, or that are there.
struct Part {
  Window window;  ///< inside the picture, not empty
};

/// Told the size of a picture, says which part of it is needed.
using ChoosePart = std::function<Part(int height, int width)>;

}  // namespace striate
