#pragma once

#include <array>

/// What was measured in macaque V1, to stand beside a network's first layer: Ringach, Shapley and Hawken, Orientation
/// selectivity in macaque V1: diversity and laminar dependence. Journal of Neuroscience 22, 5639 (2002).
namespace striate::macaque_v1 {

inline constexpr const char* kSource = "Ringach et al. 2002";
inline constexpr int kCells = 308;
inline constexpr std::array<double, 3> kCircularVarianceQuartiles = {0.335, 0.605, 0.785};

}  // namespace striate::macaque_v1
