#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace striate {

/// Joint probabilities p_ij of neighbours, symmetric and of sum 1, as sparse rows.
struct Affinities {
  std::vector<int64_t> begin;  ///< [points + 1]: where a row's entries lie
  std::vector<int32_t> neighbour;
  std::vector<double> p;
  int64_t points() const { return static_cast<int64_t>(begin.size()) - 1; }
};

/// Of `values` [points, dimensions]: Gaussians round each point of such a width that its neighbours' distribution has
/// the given perplexity, over its 3·perplexity nearest ones, then (p_j|i + p_i|j) / 2n.
Affinities tsne_affinities(const std::vector<float>& values, int64_t points, int64_t dimensions, double perplexity);

/// Gradient of the divergence KL(P‖Q) with respect to `y` [points, 2], where Q is a Student t of one degree of freedom
/// over the distances in the plane; p is multiplied by `exaggeration`. A cell of the quadtree stands for its points
/// where its side is less than `theta` times its distance; 0 is exact. Returns the divergence (of P as it is).
double tsne_gradient(const Affinities& p, const std::vector<double>& y, double theta, double exaggeration,
                     std::vector<double>& gradient);

/// The perplexity itself, or a third of the other points where these are few.
double usable_perplexity(double perplexity, int64_t points);

struct TsneOptions {
  double perplexity = 30.0;  ///< usable_perplexity() of it is used
  int iterations = 1000;
  double theta = 0.5;
  uint64_t seed = 0;  ///< of the noise that parts points which coincide
  /// Told after every iteration; false stops.
  std::function<bool(int done, int total)> progress{};
};

/// Places `values` [points, dimensions] in a plane, [points, 2], such that neighbours stay neighbours: Barnes–Hut t-SNE
/// (van der Maaten 2014, JMLR 15:3221) with exact nearest neighbours; the start from the first two principal components
/// after Kobak & Berens 2019 (Nature Communications 10:5416), early exaggeration 12 for a quarter of the iterations and
/// a learning rate of n/12 after Belkina et al. 2019 (Nature Communications 10:5415). The same bits for the same input
/// and seed. Throws ShapeError where the sizes contradict each other.
std::vector<float> tsne(const std::vector<float>& values, int64_t points, int64_t dimensions,
                        const TsneOptions& options = {});

}  // namespace striate
