#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace striate::bench {

/// A scheme over numbers of ranks.
struct ScalingCurve {
  std::string name;
  struct Point {
    double ranks = 0.0, images_per_second = 0.0, efficiency = 0.0;
  };
  std::vector<Point> points;
};
struct ScalingPanel {
  std::string title;
  std::vector<ScalingCurve> curves;
};

/// A column a panel: images/s above, efficiency below. `.png` or `.svg`.
void draw_scaling(const std::vector<ScalingPanel>& panels, const std::string& title, const std::string& footnote,
                  const std::filesystem::path& file);

}  // namespace striate::bench
