#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace striate {

/// A picture to show beside a figure: RGB rows from the top.
struct Thumbnail {
  int height = 0, width = 0;
  std::vector<uint8_t> rgb;
};

/// Rows and columns of a grid of so many cells, about 25 to 40 as a thousand are laid out, with few cells left empty.
std::pair<int64_t, int64_t> probability_grid(int64_t classes);

/// A heat map of a network's probabilities, a cell a class in rows from the top, on a logarithmic scale from 0.001 %
/// to 100 %; the five highest are marked and named beside it, under the picture. Throws ShapeError where there is
/// not a name for each probability.
void draw_probabilities(const std::vector<double>& probabilities, const std::vector<std::string>& names,
                        const Thumbnail& picture, const std::string& title, const std::string& subtitle,
                        const std::filesystem::path& png);

}  // namespace striate
