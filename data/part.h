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
  Window window;  ///< of the whole picture's pixels; not empty
  /// 1, 2, 4 or 8: as what is needed, by how much the picture may be reduced; as what is there, by how much it is:
  /// pixel (y, x) is the mean of those in rows [k·y, k·y + k) and columns [k·x, k·x + k), and the window begins at
  /// multiples of k and ends at others or at the picture's edge.
  int reduction = 1;
};

/// All of a picture of that size.
inline Part whole_picture(int height, int width) { return {{0, 0, height, width}}; }

/// Told the size of a picture, says which part of it is needed.
using ChoosePart = std::function<Part(int height, int width)>;

}  // namespace striate
