#pragma once

#include <array>
#include <cstdint>

#include "data/dataset.h"
#include "data/picture_walk.h"

namespace striate {

using Matrix3 = std::array<std::array<double, 3>, 3>;

/// The principal components of RGB values in [0, 1]: eigenvalues of their covariance, falling, and eigenvectors of
/// length 1, one a column (row c holds channel c of the three).
struct ColorComponents {
  std::array<double, 3> values{};
  Matrix3 vectors{};
};

/// Of a symmetric matrix, by Jacobi's rotations (Golub & Van Loan, Matrix Computations, §8.5). The largest entry of an
/// eigenvector is positive.
ColorComponents principal_components(Matrix3 symmetric);

/// Of all pixels of some pictures of a dataset, as they are before any transform (grey ones replicated). Exact whatever
/// the number of threads: levels and their products are summed as integers.
ColorComponents compute_color_components(const Dataset& dataset, const PictureWalk& walk);

}  // namespace striate
