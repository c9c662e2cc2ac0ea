#include "tools/experiments/tuning.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <numeric>
#include <utility>

#include "kernels/error.h"

namespace striate {
namespace {

using Complex = std::complex<double>;

/// Σ r·e^{2iθ}: orientation repeats after 180°, so its angle is doubled.
Complex doubled(double response, double orientation_deg) {
  return std::polar(response, orientation_deg * std::numbers::pi / 90.0);
}

/// 1 − |Σ r·e^{2iθ}|/Σ r, clamped to [0, 1].
double circular_variance(Complex resultant, double sum) {
  return std::clamp(1.0 - std::abs(resultant) / sum, 0.0, 1.0);
}

/// A curve over orientation at whole degrees 0…179, interpolated linearly round the circle.
std::vector<double> at_whole_degrees(const std::vector<double>& orientations_deg, const std::vector<double>& curve) {
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < curve.size(); ++i) {
    double degrees = std::fmod(orientations_deg[i], 180.0);
    if (degrees < 0.0) degrees += 180.0;
    points.emplace_back(degrees, curve[i]);
  }
  std::sort(points.begin(), points.end());
  // 10° and 190° are one orientation: their mean.
  std::vector<std::pair<double, double>> distinct;
  for (size_t i = 0; i < points.size();) {
    double sum = 0.0;
    size_t end = i;
    for (; end < points.size() && points[end].first - points[i].first < 1e-9; ++end) sum += points[end].second;
    distinct.emplace_back(points[i].first, sum / static_cast<double>(end - i));
    i = end;
  }
  std::vector<double> values(180);
  for (size_t d = 0; d < values.size(); ++d) {
    const auto degrees = static_cast<double>(d);
    auto after = std::upper_bound(distinct.begin(), distinct.end(), std::pair{degrees, 1e300});
    auto [x1, y1] = after == distinct.end() ? distinct.front() : *after;
    auto [x0, y0] = after == distinct.begin() ? distinct.back() : *std::prev(after);
    if (after == distinct.end()) x1 += 180.0;
    if (after == distinct.begin()) x0 -= 180.0;
    values[d] = y0 + (y1 - y0) * (degrees - x0) / (x1 - x0);
  }
  return values;
}

/// Hann window, half width at half height 13.5° (Ringach et al. 2002).
std::vector<double> smoothed(const std::vector<double>& values) {
  constexpr int kHalf = 27;
  const int n = static_cast<int>(values.size());
  std::vector<double> result(values.size(), 0.0);
  double total = 0.0;
  for (int d = -kHalf + 1; d < kHalf; ++d) {
    const double weight = 0.5 * (1.0 + std::cos(std::numbers::pi * d / kHalf));
    total += weight;
    for (int i = 0; i < n; ++i) {
      result[static_cast<size_t>(i)] += weight * values[static_cast<size_t>((i + d + n) % n)];
    }
  }
  for (double& value : result) value /= total;
  return result;
}

/// Degrees from the peak to where the curve falls to `level`, in steps of `direction`; none within 90°.
std::optional<double> crossing(const std::vector<double>& curve, size_t peak, int direction, double level) {
  const int n = static_cast<int>(curve.size());
  const auto at = [&](int steps) {
    return curve[static_cast<size_t>((static_cast<int>(peak) + direction * steps + n) % n)];
  };
  for (int steps = 1; steps <= n / 2; ++steps) {
    if (at(steps) <= level) return steps - (level - at(steps)) / (at(steps - 1) - at(steps));
  }
  return std::nullopt;
}

/// The response at 90° from the peak, interpolated.
double orthogonal(const GratingGrid& grid, const std::vector<double>& curve, size_t peak) {
  const double wanted = grid.orientations_deg[peak] + 90.0;
  for (size_t i = 0; i < curve.size(); ++i) {
    if (std::abs(std::remainder(grid.orientations_deg[i] - wanted, 180.0)) < 0.1) return curve[i];
  }
  const std::vector<double> fine = at_whole_degrees(grid.orientations_deg, curve);
  const double degrees = wanted - 180.0 * std::floor(wanted / 180.0);
  const auto below = static_cast<size_t>(degrees) % 180;
  const double share = degrees - std::floor(degrees);
  return fine[below] + (fine[(below + 1) % 180] - fine[below]) * share;
}

/// Full width at half height in octaves; NaN where the grid ends before the curve has fallen so far.
double octaves_at_half_height(const std::vector<double>& frequencies, const std::vector<double>& curve) {
  std::vector<size_t> order(frequencies.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return frequencies[a] < frequencies[b]; });
  const auto peak = static_cast<size_t>(
      std::max_element(order.begin(), order.end(), [&](size_t a, size_t b) { return curve[a] < curve[b]; }) -
      order.begin());
  const double half = curve[order[peak]] / 2.0;
  const auto edge = [&](int direction) -> std::optional<double> {
    for (auto i = static_cast<int64_t>(peak) + direction; i >= 0 && i < static_cast<int64_t>(order.size());
         i += direction) {
      const size_t outer = order[static_cast<size_t>(i)], inner = order[static_cast<size_t>(i - direction)];
      if (curve[outer] > half) continue;
      const double share = (curve[inner] - half) / (curve[inner] - curve[outer]);
      const double from = std::log2(frequencies[inner]);
      return from + share * (std::log2(frequencies[outer]) - from);
    }
    return std::nullopt;
  };
  const std::optional<double> low = edge(-1), high = edge(+1);
  return low && high ? *high - *low : Tuning::kUndefined;
}

}  // namespace

double orientation_bandwidth(const std::vector<double>& orientations_deg, const std::vector<double>& curve) {
  const std::vector<double> smooth = smoothed(at_whole_degrees(orientations_deg, curve));
  const auto peak = static_cast<size_t>(std::max_element(smooth.begin(), smooth.end()) - smooth.begin());
  const double level = smooth[peak] / std::numbers::sqrt2;
  const std::optional<double> left = crossing(smooth, peak, -1, level), right = crossing(smooth, peak, +1, level);
  return left && right ? (*left + *right) / 2.0 : 180.0;
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return Tuning::kUndefined;
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (at - static_cast<double>(below));
}

Tuning measure_tuning(const GratingGrid& grid, std::span<const float> responses, double width) {
  require<ShapeError>(static_cast<int64_t>(responses.size()) == grid.size(),
                      "tuning: {} responses for {} gratings; expected one each", responses.size(), grid.size());
  const size_t orientations = grid.orientations_deg.size(), frequencies = grid.cycles_per_image.size(),
               phases = grid.phases_rad.size(), colours = grid.colours.size();
  Tuning tuning;
  tuning.orientation_curve.assign(orientations, 0.0);
  tuning.frequency_curve.assign(frequencies, 0.0);
  const auto [lowest, highest] = std::minmax_element(responses.begin(), responses.end());
  // A unit whose output hangs on its bias alone answers, but not to the gratings; sums of floats leave some dust.
  const float spread = *highest - *lowest, dust = 1e-5f * std::max(std::abs(*highest), std::abs(*lowest));
  tuning.responsive = *highest > 0.0f && spread > dust;
  if (!tuning.responsive) return tuning;

  const auto rectified = [&](size_t o, size_t f, size_t p, size_t c) {
    return std::max(0.0, static_cast<double>(responses[((o * frequencies + f) * phases + p) * colours + c]));
  };
  std::vector<double> mean(orientations * frequencies, 0.0);  // over phases and colours
  Complex pooled = 0.0;
  double sum = 0.0;
  for (size_t o = 0; o < orientations; ++o) {
    for (size_t f = 0; f < frequencies; ++f) {
      for (size_t p = 0; p < phases; ++p) {
        for (size_t c = 0; c < colours; ++c) mean[o * frequencies + f] += rectified(o, f, p, c);
      }
      sum += mean[o * frequencies + f];
      pooled += doubled(mean[o * frequencies + f], grid.orientations_deg[o]);
      mean[o * frequencies + f] /= static_cast<double>(phases * colours);
    }
  }
  tuning.circular_variance = circular_variance(pooled, sum);

  const auto best = static_cast<size_t>(std::max_element(mean.begin(), mean.end()) - mean.begin());
  const size_t best_o = best / frequencies, best_f = best % frequencies;
  tuning.best_orientation = best_o;
  tuning.best_frequency = best_f;
  for (size_t o = 0; o < orientations; ++o) tuning.orientation_curve[o] = mean[o * frequencies + best_f];
  for (size_t f = 0; f < frequencies; ++f) tuning.frequency_curve[f] = mean[best_o * frequencies + f];
  tuning.preferred_cycles_per_image = grid.cycles_per_image[best_f];
  tuning.preferred_cycles_per_pixel = tuning.preferred_cycles_per_image / width;
  tuning.preferred_cycles_per_degree = tuning.preferred_cycles_per_image / kImageDegrees;
  tuning.peak_response = mean[best];

  Complex resultant = 0.0;
  double curve_sum = 0.0;
  for (size_t o = 0; o < orientations; ++o) {
    resultant += doubled(tuning.orientation_curve[o], grid.orientations_deg[o]);
    curve_sum += tuning.orientation_curve[o];
  }
  tuning.circular_variance_at_preferred_sf = circular_variance(resultant, curve_sum);
  tuning.global_orientation_selectivity = 1.0 - tuning.circular_variance_at_preferred_sf;
  // Without a direction to point in there is nothing preferred.
  if (std::abs(resultant) > 1e-9 * curve_sum) {
    const double degrees = std::arg(resultant) * 90.0 / std::numbers::pi;
    tuning.preferred_orientation_deg = degrees < 0.0 ? std::fmod(degrees + 180.0, 180.0) : degrees;
  }
  const double across = orthogonal(grid, tuning.orientation_curve, best_o);
  tuning.orientation_selectivity = (mean[best] - across) / (mean[best] + across);
  tuning.orientation_bandwidth_deg = orientation_bandwidth(grid.orientations_deg, tuning.orientation_curve);
  tuning.sf_bandwidth_octaves = octaves_at_half_height(grid.cycles_per_image, tuning.frequency_curve);

  if (phases < 3) return tuning;
  // The preferred stimulus has a colour too: red/cyan shifts the phase, and a mean of both would blur it.
  double strongest = -1.0;
  for (size_t c = 0; c < colours; ++c) {
    Complex wave = 0.0;
    double total = 0.0;
    for (size_t p = 0; p < phases; ++p) {
      wave += std::polar(rectified(best_o, best_f, p, c), -grid.phases_rad[p]);
      total += rectified(best_o, best_f, p, c);
    }
    if (total <= strongest) continue;
    strongest = total;
    tuning.f1_f0 = 2.0 * std::abs(wave) / total;
  }
  return tuning;
}

std::vector<Tuning> measure_tunings(const GratingGrid& grid, std::span<const float> responses, double width) {
  const auto each = static_cast<size_t>(grid.size());
  require<ShapeError>(each > 0 && responses.size() % each == 0,
                      "tuning: {} responses are not a whole number of times {} gratings", responses.size(), each);
  std::vector<Tuning> tunings;
  for (size_t k = 0; k < responses.size() / each; ++k) {
    tunings.push_back(measure_tuning(grid, responses.subspan(k * each, each), width));
  }
  return tunings;
}

}  // namespace striate
