#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace striate {

/// Counts by true class (row) and predicted class (column).
using ConfusionMatrix = std::vector<std::vector<int64_t>>;

/// A heat map of each true class's images over the predicted classes, in percent of its row; the shares are printed
/// in the cells up to 20 classes, the names on both axes up to 200. Throws ShapeError unless the matrix is square and
/// has as many classes as there are names.
void draw_confusion(const ConfusionMatrix& counts, const std::vector<std::string>& names, const std::string& title,
                    const std::filesystem::path& png);

/// The same as a table: a header `true\predicted,NAME,…`, then a row of counts for each true class.
void write_confusion_csv(const ConfusionMatrix& counts, const std::vector<std::string>& names,
                         const std::filesystem::path& csv);

}  // namespace striate
