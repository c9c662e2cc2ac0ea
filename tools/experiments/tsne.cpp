#include "tools/experiments/tsne.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/random.h"
#include "kernels/error.h"
#include "tools/experiments/pca.h"

namespace striate {
namespace {

struct Neighbour {
  double distance;  // squared
  int32_t point;
};

std::vector<Neighbour> nearest_neighbours(const std::vector<float>& values, int64_t points, int64_t dimensions,
                                          int64_t of, int64_t count) {
  std::vector<Neighbour> all;
  all.reserve(static_cast<size_t>(points));
  const float* a = values.data() + of * dimensions;
  for (int64_t j = 0; j < points; ++j) {
    if (j == of) continue;
    const float* b = values.data() + j * dimensions;
    double sum = 0.0;
    for (int64_t d = 0; d < dimensions; ++d) {
      const double difference = double{a[d]} - b[d];
      sum += difference * difference;
    }
    all.push_back({sum, static_cast<int32_t>(j)});
  }
  // Ties by number, so that the result does not hang on the sort.
  const auto before = [](const Neighbour& l, const Neighbour& r) {
    return l.distance < r.distance || (l.distance == r.distance && l.point < r.point);
  };
  std::partial_sort(all.begin(), all.begin() + count, all.end(), before);
  all.resize(static_cast<size_t>(count));
  return all;
}

/// p_j|i over the neighbours by bisection of the Gaussian's precision, until the entropy is ln(perplexity).
std::vector<double> conditional(const std::vector<Neighbour>& neighbours, double perplexity) {
  const double nearest = neighbours.front().distance, wanted = std::log(perplexity);
  double precision = 1.0, low = 0.0, high = std::numeric_limits<double>::infinity();
  std::vector<double> p(neighbours.size());
  for (int step = 0; step < 200; ++step) {
    double sum = 0.0, weighted = 0.0;
    for (size_t k = 0; k < p.size(); ++k) {
      const double distance = neighbours[k].distance - nearest;
      p[k] = std::exp(-precision * distance);
      sum += p[k];
      weighted += distance * p[k];
    }
    for (double& value : p) value /= sum;
    const double entropy = std::log(sum) + precision * weighted / sum;
    if (std::abs(entropy - wanted) < 1e-6) break;
    (entropy > wanted ? low : high) = precision;
    precision = std::isfinite(high) ? 0.5 * (low + high) : 2.0 * precision;
    if (!std::isfinite(precision)) break;  // neighbours that all coincide: every width gives the same
  }
  return p;
}

/// Points in the plane under squares of halving side, with the mean of each square's points.
class Quadtree {
 public:
  Quadtree(const std::vector<double>& y, int64_t points) : y_(y) {
    double low_x = y[0], high_x = y[0], low_y = y[1], high_y = y[1];
    for (int64_t i = 0; i < points; ++i) {
      const auto at = static_cast<size_t>(2 * i);
      low_x = std::min(low_x, y[at]), high_x = std::max(high_x, y[at]);
      low_y = std::min(low_y, y[at + 1]), high_y = std::max(high_y, y[at + 1]);
    }
    const double side = std::max({high_x - low_x, high_y - low_y, 1e-300}) * (1.0 + 1e-9);
    cells_.reserve(static_cast<size_t>(4 * points));
    cells_.push_back({low_x, low_y, side});
    for (int64_t i = 0; i < points; ++i) insert(i);
    for (Cell& cell : cells_) {
      if (cell.count > 0.0) cell.x /= cell.count, cell.y /= cell.count;
    }
  }

  /// Adds Σ q²(y_i − y_j) to `force` and returns Σ q, q = 1/(1 + d²), over all points but i itself.
  double repulsion(int64_t i, double theta, std::array<double, 2>& force) const {
    const double x = y_[static_cast<size_t>(2 * i)], y = y_[static_cast<size_t>(2 * i) + 1];
    double sum = 0.0;
    std::array<int32_t, 4 * kDeepest + 4> open;
    int top = 0;
    open[static_cast<size_t>(top++)] = 0;
    while (top > 0) {
      const Cell& cell = cells_[static_cast<size_t>(open[static_cast<size_t>(--top)])];
      if (cell.count == 0.0) continue;
      const double dx = x - cell.x, dy = y - cell.y, squared = dx * dx + dy * dy;
      const bool leaf = cell.child == 0;
      if (!leaf && (!(cell.side * cell.side < theta * theta * squared) || cell.holds(x, y))) {
        for (int32_t k = 0; k < 4; ++k) open[static_cast<size_t>(top++)] = cell.child + k;
        continue;
      }
      const double q = 1.0 / (1.0 + squared);
      const double count = cell.count - (leaf && cell.holds(x, y) ? 1.0 : 0.0);
      sum += count * q;
      force[0] += count * q * q * dx;
      force[1] += count * q * q * dy;
    }
    return sum;
  }

 private:
  static constexpr int kDeepest = 50;  // halvings after which points count as one
  struct Cell {
    double left, bottom, side;
    double x = 0.0, y = 0.0;  // sum of its points, then their mean
    double count = 0.0;
    int32_t child = 0;   // the first of four; 0: none
    int64_t first = -1;  // a leaf's point
    bool holds(double px, double py) const {
      return px >= left && px < left + side && py >= bottom && py < bottom + side;
    }
  };

  void insert(int64_t i) {
    const double x = y_[static_cast<size_t>(2 * i)], y = y_[static_cast<size_t>(2 * i) + 1];
    size_t at = 0;
    for (int depth = 0;; ++depth) {
      Cell& cell = cells_[at];
      if (cell.child == 0 && cell.count == 0.0) cell.first = i;
      const bool full = cell.child == 0 && cell.count > 0.0 && depth < kDeepest && !same(cell.first, i);
      cell.x += x, cell.y += y, cell.count += 1.0;
      if (full) split(at);
      if (cells_[at].child == 0) return;
      at = child_of(cells_[at], x, y);
    }
  }
  bool same(int64_t i, int64_t j) const {
    return y_[static_cast<size_t>(2 * i)] == y_[static_cast<size_t>(2 * j)] &&
           y_[static_cast<size_t>(2 * i) + 1] == y_[static_cast<size_t>(2 * j) + 1];
  }
  size_t child_of(const Cell& cell, double x, double y) const {
    const double half = 0.5 * cell.side;
    return static_cast<size_t>(cell.child) + (x >= cell.left + half ? 1 : 0) + (y >= cell.bottom + half ? 2 : 0);
  }
  /// Gives a leaf four children and hands its points, which coincide, to one of them; the new point is in its sums
  /// already and goes on downwards.
  void split(size_t at) {
    const Cell cell = cells_[at];
    const double half = 0.5 * cell.side;
    cells_[at].child = static_cast<int32_t>(cells_.size());
    for (int k = 0; k < 4; ++k) {
      cells_.push_back({k % 2 == 0 ? cell.left : cell.left + half, k < 2 ? cell.bottom : cell.bottom + half, half});
    }
    const double x = y_[static_cast<size_t>(2 * cell.first)], y = y_[static_cast<size_t>(2 * cell.first) + 1];
    Cell& child = cells_[child_of(cells_[at], x, y)];
    const double moved = cell.count - 1.0;
    child.first = cell.first;
    child.count = moved;
    child.x = moved * x, child.y = moved * y;
  }

  const std::vector<double>& y_;
  std::vector<Cell> cells_;
};

}  // namespace

Affinities tsne_affinities(const std::vector<float>& values, int64_t points, int64_t dimensions, double perplexity) {
  require<ShapeError>(points >= 2 && dimensions > 0 && static_cast<int64_t>(values.size()) == points * dimensions,
                      "t-SNE: {} values for {} points of {} dimensions; two points at least are needed", values.size(),
                      points, dimensions);
  const int64_t count = std::min(points - 1, static_cast<int64_t>(3.0 * perplexity));
  require<ShapeError>(perplexity >= 1.0 && count >= 1 && perplexity <= static_cast<double>(count) + 1e-9,
                      "t-SNE: a perplexity of {} for {} points; expected 1 to {}", perplexity, points, points - 1);
  std::vector<std::vector<std::pair<int32_t, double>>> rows(static_cast<size_t>(points));
  for (int64_t i = 0; i < points; ++i) {
    const auto neighbours = nearest_neighbours(values, points, dimensions, i, count);
    const std::vector<double> p = conditional(neighbours, perplexity);
    for (size_t k = 0; k < p.size(); ++k) {
      const double half = p[k] / (2.0 * static_cast<double>(points));
      rows[static_cast<size_t>(i)].emplace_back(neighbours[k].point, half);
      rows[static_cast<size_t>(neighbours[k].point)].emplace_back(static_cast<int32_t>(i), half);
    }
  }
  Affinities result;
  result.begin.push_back(0);
  for (auto& row : rows) {
    std::stable_sort(row.begin(), row.end(), [](const auto& l, const auto& r) { return l.first < r.first; });
    for (const auto& [neighbour, p] : row) {
      const bool again =
          static_cast<int64_t>(result.neighbour.size()) > result.begin.back() && result.neighbour.back() == neighbour;
      if (again) {
        result.p.back() += p;
      } else {
        result.neighbour.push_back(neighbour);
        result.p.push_back(p);
      }
    }
    result.begin.push_back(static_cast<int64_t>(result.p.size()));
  }
  return result;
}

double tsne_gradient(const Affinities& p, const std::vector<double>& y, double theta, double exaggeration,
                     std::vector<double>& gradient) {
  const int64_t n = p.points();
  const Quadtree tree(y, n);
  std::vector<std::array<double, 2>> repulsion(static_cast<size_t>(n), {0.0, 0.0});
  double normalisation = 0.0;
  for (int64_t i = 0; i < n; ++i) normalisation += tree.repulsion(i, theta, repulsion[static_cast<size_t>(i)]);
  double divergence = 0.0;
  gradient.resize(static_cast<size_t>(2 * n));
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(2 * i);
    double fx = 0.0, fy = 0.0;
    for (auto k = static_cast<size_t>(p.begin[static_cast<size_t>(i)]);
         k < static_cast<size_t>(p.begin[static_cast<size_t>(i) + 1]); ++k) {
      const auto other = static_cast<size_t>(2 * p.neighbour[k]);
      const double dx = y[at] - y[other], dy = y[at + 1] - y[other + 1], q = 1.0 / (1.0 + dx * dx + dy * dy);
      fx += exaggeration * p.p[k] * q * dx;
      fy += exaggeration * p.p[k] * q * dy;
      if (p.p[k] > 0.0) divergence += p.p[k] * std::log(p.p[k] * normalisation / q);
    }
    gradient[at] = 4.0 * (fx - repulsion[static_cast<size_t>(i)][0] / normalisation);
    gradient[at + 1] = 4.0 * (fy - repulsion[static_cast<size_t>(i)][1] / normalisation);
  }
  return divergence;
}

double usable_perplexity(double perplexity, int64_t points) {
  return std::max(1.0, std::min(perplexity, static_cast<double>(points - 1) / 3.0));
}

std::vector<float> tsne(const std::vector<float>& values, int64_t points, int64_t dimensions,
                        const TsneOptions& options) {
  const Affinities p = tsne_affinities(values, points, dimensions, usable_perplexity(options.perplexity, points));
  const auto size = static_cast<size_t>(2 * points);
  const PrincipalComponents start = principal_components(values, points, dimensions, 2);
  double variance = 0.0;
  for (int64_t i = 0; i < points; ++i) {
    const double score = start.scores[static_cast<size_t>(i * start.components)];
    variance += score * score / static_cast<double>(points);
  }
  const double scale = variance > 0.0 ? 1e-4 / std::sqrt(variance) : 0.0;
  Random random(options.seed, RandomPurpose::figure, 1);
  std::vector<double> y(size), step(size, 0.0), gain(size, 1.0), gradient;
  for (size_t i = 0; i < size; ++i) {
    const auto component = static_cast<int64_t>(i % 2);
    const double score =
        component < start.components ? start.scores[i / 2 * static_cast<size_t>(start.components) + i % 2] : 0.0;
    y[i] = scale * score + 1e-6 * random.normal();
  }

  constexpr double kExaggeration = 12.0;
  const double rate = std::max(static_cast<double>(points) / kExaggeration, 50.0);
  const int early = options.iterations / 4;
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    const bool exaggerated = iteration < early;
    tsne_gradient(p, y, options.theta, exaggerated ? kExaggeration : 1.0, gradient);
    const double momentum = exaggerated ? 0.5 : 0.8;
    for (size_t i = 0; i < size; ++i) {
      // Jacobs' gains (1988), as in the author's own code: steps that keep their direction grow.
      gain[i] = (gradient[i] > 0.0) == (step[i] > 0.0) ? std::max(0.8 * gain[i], 0.01) : gain[i] + 0.2;
      step[i] = momentum * step[i] - rate * gain[i] * gradient[i];
      y[i] += step[i];
    }
    for (size_t axis = 0; axis < 2; ++axis) {
      double mean = 0.0;
      for (size_t i = axis; i < size; i += 2) mean += y[i] / static_cast<double>(points);
      for (size_t i = axis; i < size; i += 2) y[i] -= mean;
    }
    if (options.progress && !options.progress(iteration + 1, options.iterations)) break;
  }
  return {y.begin(), y.end()};
}

}  // namespace striate
