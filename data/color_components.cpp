#include "data/color_components.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "data/transforms/channels.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// Sums over pixels of RGB levels and of their products. 2⁴⁷ pixels fit.
struct ColorSums {
  uint64_t pixels = 0;
  std::array<uint64_t, 3> levels{};
  std::array<uint64_t, 6> products{};  // rr, rg, rb, gg, gb, bb

  void add(const uint8_t* rgb, size_t count) {
    // 2¹⁶ products of levels are the most that 32 bits surely hold.
    for (size_t begin = 0; begin < count; begin += 1 << 16) {
      const size_t end = std::min(count, begin + (1 << 16));
      std::array<uint32_t, 9> sums{};
      for (size_t p = begin; p < end; ++p) {
        const uint32_t r = rgb[3 * p], g = rgb[3 * p + 1], b = rgb[3 * p + 2];
        sums[0] += r;
        sums[1] += g;
        sums[2] += b;
        sums[3] += r * r;
        sums[4] += r * g;
        sums[5] += r * b;
        sums[6] += g * g;
        sums[7] += g * b;
        sums[8] += b * b;
      }
      for (size_t i = 0; i < 3; ++i) levels[i] += sums[i];
      for (size_t i = 0; i < 6; ++i) products[i] += sums[3 + i];
    }
    pixels += count;
  }
  void add(const ColorSums& other) {
    pixels += other.pixels;
    for (size_t i = 0; i < 3; ++i) levels[i] += other.levels[i];
    for (size_t i = 0; i < 6; ++i) products[i] += other.products[i];
  }
};

Matrix3 covariance(const ColorSums& sums) {
  const double n = static_cast<double>(sums.pixels);
  std::array<double, 3> mean;
  for (size_t i = 0; i < 3; ++i) mean[i] = static_cast<double>(sums.levels[i]) / n;
  Matrix3 result;
  size_t next = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = i; j < 3; ++j) {
      const double product = static_cast<double>(sums.products[next++]) / n;
      result[i][j] = result[j][i] = (product - mean[i] * mean[j]) / (255.0 * 255.0);
    }
  }
  return result;
}

/// A' = Jᵀ·A·J and V' = V·J, J turning the axes p and q so that A'[p][q] = 0.
void rotate_axes(Matrix3& a, Matrix3& v, size_t p, size_t q) {
  if (a[p][q] == 0.0) return;
  const double tau = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
  const double tangent = (tau >= 0 ? 1.0 : -1.0) / (std::abs(tau) + std::hypot(1.0, tau));
  const double cosine = 1.0 / std::hypot(1.0, tangent), sine = tangent * cosine;
  const auto turn = [&](double& x, double& y) {
    const double turned = cosine * x - sine * y;
    y = sine * x + cosine * y;
    x = turned;
  };
  for (size_t k = 0; k < 3; ++k) turn(a[k][p], a[k][q]);
  for (size_t k = 0; k < 3; ++k) turn(a[p][k], a[q][k]);
  for (size_t k = 0; k < 3; ++k) turn(v[k][p], v[k][q]);
  a[p][q] = a[q][p] = 0.0;
}

}  // namespace

ColorComponents principal_components(Matrix3 a) {
  Matrix3 v = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  // Each sweep squares what is left beside the diagonal; ten are far more than a double can show.
  for (int sweep = 0; sweep < 10; ++sweep) {
    rotate_axes(a, v, 0, 1);
    rotate_axes(a, v, 0, 2);
    rotate_axes(a, v, 1, 2);
  }
  std::array<size_t, 3> order = {0, 1, 2};
  std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return a[i][i] > a[j][j]; });
  ColorComponents result;
  for (size_t i = 0; i < 3; ++i) {
    const size_t from = order[i];
    result.values[i] = std::max(0.0, a[from][from]);
    size_t largest = 0;
    for (size_t c = 1; c < 3; ++c) {
      if (std::abs(v[c][from]) > std::abs(v[largest][from])) largest = c;
    }
    for (size_t c = 0; c < 3; ++c) result.vectors[c][i] = v[largest][from] < 0 ? -v[c][from] : v[c][from];
  }
  return result;
}

ColorComponents compute_color_components(const Dataset& dataset, const PictureWalk& walk) {
  std::vector<ColorSums> sums(static_cast<size_t>(walk.parts()));
  walk_pictures(walk, [&](int64_t part, int64_t index, Image& image) {
    dataset.load(index, image);
    if (image.channels != 3) {
      Image converted;
      convert_channels(image, 3, converted);
      std::swap(image, converted);
    }
    sums[static_cast<size_t>(part)].add(image.pixels.data(), image.pixels.size() / 3);
  });
  ColorSums all;
  for (const ColorSums& part : sums) all.add(part);
  require<IoError>(all.pixels > 0, "pca_color: computed: none of {} training images can be read", walk.indices.size());
  return principal_components(covariance(all));
}

}  // namespace striate
