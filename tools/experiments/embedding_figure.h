#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace striate {

/// A plane of points, beside others in one figure.
struct EmbeddingPanel {
  std::string title;           ///< "PCA", "t-SNE, perplexity 30"
  std::string x_name, y_name;  ///< of the axes, with what they measure
  std::vector<float> points;   ///< [images, 2]
};

/// Panels side by side, an image a point, its class by colour and marker: up to 20 classes are named in a legend, more
/// are told by a scale of colours over their numbers. `labels` [images] index `names`. Throws ShapeError where sizes
/// contradict each other.
void draw_embedding(const std::vector<EmbeddingPanel>& panels, const std::vector<int32_t>& labels,
                    const std::vector<std::string>& names, const std::string& title, const std::string& subtitle,
                    const std::filesystem::path& file);

}  // namespace striate
