#include "tools/experiments/pca.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "engine/random.h"
#include "kernels/error.h"

namespace striate {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int64_t kExact = 512;  // a symmetric matrix of this size is solved in a fifth of a second

/// Eigenvectors of a symmetric matrix as columns, largest eigenvalue first.
Matrix leading_vectors(const Matrix& symmetric, int64_t count) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(symmetric);
  return solver.eigenvectors().rowwise().reverse().leftCols(count);
}

/// Axes as columns, of centred points.
Matrix exact_axes(const Matrix& x, int64_t count) {
  if (x.cols() <= x.rows()) return leading_vectors(x.transpose() * x, count);
  // The smaller of the two products has the same non-zero eigenvalues.
  Matrix axes = x.transpose() * leading_vectors(x * x.transpose(), count);
  for (int64_t k = 0; k < count; ++k) {
    const double length = axes.col(k).norm();
    if (length > 0.0) axes.col(k) /= length;
  }
  return axes;
}

FloatMatrix orthonormal(const FloatMatrix& columns) {
  const Eigen::HouseholderQR<FloatMatrix> qr(columns);
  return qr.householderQ() * FloatMatrix::Identity(columns.rows(), columns.cols());
}

Matrix iterated_axes(const FloatMatrix& x, int64_t count) {
  constexpr int kIterations = 12;
  constexpr int64_t kMore = 10;  // columns beside those that are wanted, so that the last of these settles
  const int64_t columns = std::min({count + kMore, int64_t{x.rows()}, int64_t{x.cols()}});
  Random random(0, RandomPurpose::figure);
  FloatMatrix q(x.cols(), columns);
  for (int64_t i = 0; i < q.size(); ++i) q.data()[i] = random.normal();
  q = orthonormal(q);
  for (int i = 0; i < kIterations; ++i) q = orthonormal(x.transpose() * (x * q));
  const FloatMatrix projected = x * q;
  const Matrix small = (projected.transpose() * projected).cast<double>();
  return q.cast<double>() * leading_vectors(small, count);
}

}  // namespace

PrincipalComponents principal_components(const std::vector<float>& values, int64_t points, int64_t dimensions,
                                         int64_t components) {
  require<ShapeError>(
      points > 0 && dimensions > 0 && components > 0 && static_cast<int64_t>(values.size()) == points * dimensions,
      "principal components: {} values for {} points of {} dimensions, {} components", values.size(), points,
      dimensions, components);
  require<Error>(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }),
                 "principal components: the values are not all finite");
  Matrix x = Eigen::Map<const FloatMatrix>(values.data(), points, dimensions).cast<double>();
  x.rowwise() -= x.colwise().mean().eval();
  PrincipalComponents result;
  result.points = points;
  result.components = components = std::min({components, points, dimensions});
  Matrix axes =
      std::min(points, dimensions) <= kExact ? exact_axes(x, components) : iterated_axes(x.cast<float>(), components);
  // Either sign would do; one is chosen, so that pictures of one network look alike.
  for (int64_t k = 0; k < components; ++k) {
    int64_t largest = 0;
    axes.col(k).cwiseAbs().maxCoeff(&largest);
    if (axes(largest, k) < 0.0) axes.col(k) *= -1.0;
  }
  const Matrix scores = x * axes;
  const double whole = x.squaredNorm();
  for (int64_t k = 0; k < components; ++k) {
    result.explained.push_back(whole > 0.0 ? scores.col(k).squaredNorm() / whole : 0.0);
  }
  const FloatMatrix kept = scores.cast<float>(), rows = axes.transpose().cast<float>();
  result.scores.assign(kept.data(), kept.data() + kept.size());
  result.axes.assign(rows.data(), rows.data() + rows.size());
  return result;
}

}  // namespace striate
