#pragma once

#include <cstdint>
#include <vector>

namespace striate {

/// Points along the directions in which they differ most.
struct PrincipalComponents {
  int64_t points = 0, components = 0;
  std::vector<float> scores;      ///< [points, components], of mean zero
  std::vector<double> explained;  ///< [components]: share of the whole variance, falling
  std::vector<float> axes;        ///< [components, dimensions], orthonormal; the largest entry of each is positive
};

/// The first `components` principal components of `values` [points, dimensions]; fewer where there are no more. Exact
/// by Eigen's symmetric solver up to a few hundred points or dimensions, else by subspace iteration (Halko, Martinsson
/// & Tropp 2011, algorithm 4.4), to about a thousandth of an axis's share. The same bits for the same input. Throws
/// ShapeError where the sizes contradict each other, Error for values that are not finite.
PrincipalComponents principal_components(const std::vector<float>& values, int64_t points, int64_t dimensions,
                                         int64_t components);

}  // namespace striate
