#pragma once

#include <limits>
#include <span>
#include <vector>

#include "tools/experiments/gratings.h"

namespace striate {

/// How a unit is tuned to gratings, as physiologists measure a cell of V1. NaN where undefined; all of it where the
/// unit is not responsive. Definitions: docs/experiments.md; sources: Ringach, Shapley & Hawken 2002 (circular
/// variance, bandwidth), Skottun et al. 1991 (F1/F0).
struct Tuning {
  static constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

  bool responsive = false;                        ///< some grating drives it above 0, and not all alike
  double preferred_orientation_deg = kUndefined;  ///< ½·arg Σ r·e^{2iθ}, in [0, 180)
  double preferred_cycles_per_image = kUndefined, preferred_cycles_per_pixel = kUndefined,
         preferred_cycles_per_degree = kUndefined;
  double circular_variance = kUndefined;  ///< pooled over every grating, as the course does
  double circular_variance_at_preferred_sf = kUndefined;
  double orientation_selectivity = kUndefined;         ///< (Rp − Ro)/(Rp + Ro)
  double global_orientation_selectivity = kUndefined;  ///< 1 − circular_variance_at_preferred_sf
  double orientation_bandwidth_deg = kUndefined;       ///< half width at peak/√2; 180 where the curve stays above
  double sf_bandwidth_octaves = kUndefined;            ///< full width at half height; undefined where a side is cut off
  double f1_f0 = kUndefined;                           ///< undefined below three phases
  double peak_response = 0.0;                          ///< of the orientation curve

  /// Mean over phases and colours of the rectified response: against orientation at the preferred frequency, and
  /// against frequency at the orientation that the former peaks at. All 0 where not responsive.
  std::vector<double> orientation_curve, frequency_curve;
  size_t best_orientation = 0, best_frequency = 0;  ///< indices of the peak in the grid
};

/// `responses` [orientations, frequencies, phases, colours] of one unit, not rectified; `width` of the image in pixels.
/// Throws ShapeError where they are not as many as the grid's gratings.
Tuning measure_tuning(const GratingGrid& grid, std::span<const float> responses, double width);

/// Every unit of responses [kernels, orientations, frequencies, phases, colours].
std::vector<Tuning> measure_tunings(const GratingGrid& grid, std::span<const float> responses, double width);

/// Half the distance between the crossings of peak/√2 of a curve that repeats after 180°: interpolated to 1°, smoothed
/// by a Hann window of 13.5° half width at half height; 180 where it does not cross. Orientations in any order.
double orientation_bandwidth(const std::vector<double>& orientations_deg, const std::vector<double>& curve);

/// Value at a share of sorted `values`, between neighbours linearly; NaN for none.
double quantile(std::vector<double> values, double share);

}  // namespace striate
