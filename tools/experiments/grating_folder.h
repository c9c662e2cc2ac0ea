#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "tools/experiments/gratings.h"

namespace striate {

/// Writes a grid as RGB JPEGs of quality 100 under grating_names(). Throws IoError.
void write_gratings(const std::filesystem::path& folder, const GratingGrid& grid, int height, int width,
                    const std::function<void(int64_t, int64_t)>& progress = {});

/// The gratings of a folder by their names, each resized to [height, width] on both sides when it is drawn, channels
/// converted. With one channel only the luminance gratings are taken. Phases that names round to a decimal are taken as
/// the even ones that they stand for.
/// `warn` is told of pictures whose names do not parse. Throws ConfigError where the folder is missing or holds no
/// grating, where two files show one grating, where the grid has gaps (naming what is missing), and as check_grid()
/// does; drawing throws IoError for a broken file.
GratingPictures read_gratings(const std::filesystem::path& folder, int height, int width, int channels,
                              const std::function<void(const std::string&)>& warn);

}  // namespace striate
