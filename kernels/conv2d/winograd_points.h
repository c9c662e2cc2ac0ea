#pragma once

#include <array>

namespace striate::cpu::winograd {

// Winograd's algorithm F(m, r) after Toom and Cook: m outputs of a filter of r taps are the coefficients of a product
// of polynomials, which n = m + r − 1 values determine: at 0, at ±p for each p below, and at infinity (the leading
// coefficient). Its three linear maps (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016):
//   y = Aᵀ[(G g) ⊙ (Bᵀ d)],  A [n,m] and E [n,r] evaluate a polynomial at the points, G = diag(scale)·E.
//
// The points decide the error. Those of F(4,3) are usually ±1, ±2, which loses three bits more: against double, with
// 256 channels, its largest error was 1.3e-5 of the largest output, that of ±√½, ±√2 2.5e-6, that of direct
// sums 1.4e-6. Reciprocal pairs keep the coefficients of Bᵀ and the powers in A and G within a small range.
template <int n>
struct Points;
template <>
struct Points<6> {
  static constexpr std::array<double, 2> p = {0.70710678118654752, 1.41421356237309505};
};
template <>
struct Points<8> {
  static constexpr std::array<double, 3> p = {0.571428571428571429, 1.0, 1.75};
};

/// The maps' numbers. Rows of points come in the order 0, p₀, −p₀, p₁, −p₁, …, ∞.
template <int n>
struct Coefficients {
  static constexpr int pairs = n / 2 - 1;
  std::array<float, pairs + 1> all{};                    ///< of ∏(x² − pᵢ²), ascending in x²
  std::array<std::array<float, pairs>, pairs> others{};  ///< of the same without pᵢ
  std::array<std::array<float, n>, pairs> power{};       ///< pᵢᵏ
  std::array<float, n> scale{};                          ///< 1 / ∏(point − other points)

  constexpr Coefficients() {
    const auto product = [](int without) {
      std::array<double, pairs + 1> c{1.0};
      for (int i = 0, degree = 0; i < pairs; ++i) {
        if (i == without) continue;
        const double root = Points<n>::p[i] * Points<n>::p[i];
        ++degree;
        for (int k = degree; k >= 0; --k) c[k] = (k > 0 ? c[k - 1] : 0.0) - root * c[k];
      }
      return c;
    };
    const auto c = product(-1);
    for (int k = 0; k <= pairs; ++k) all[k] = static_cast<float>(c[k]);
    scale[0] = static_cast<float>(1.0 / c[0]);
    scale[n - 1] = 1.0f;
    for (int i = 0; i < pairs; ++i) {
      const auto f = product(i);
      const double p = Points<n>::p[i];
      double value = 0.0, x = 1.0;
      for (int k = 0; k < pairs; ++k) {
        others[i][k] = static_cast<float>(f[k]);
        value += f[k] * x;
        x *= p * p;
      }
      scale[2 * i + 1] = scale[2 * i + 2] = static_cast<float>(1.0 / (2.0 * p * p * value));
      double q = 1.0;
      for (int k = 0; k < n; ++k) {
        power[i][k] = static_cast<float>(q);
        q *= p;
      }
    }
  }
};

}  // namespace striate::cpu::winograd
