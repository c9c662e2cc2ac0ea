#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace striate {

/// Whether a file's name ends like that of a picture which read_image() knows: jpg jpeg png bmp ppm pgm pnm, in any
/// case. Hidden ones are none: macOS puts a "._NAME" beside many a file.
bool is_picture_name(const std::filesystem::path& file);

/// The pictures, by their names, in a folder and all folders below it but hidden ones, in the order of their sorted
/// paths. Links are followed, unless they lead back to a folder that they lie in. Throws IoError that names the folder
/// if it cannot be read.
std::vector<std::string> picture_files(const std::filesystem::path& folder);

}  // namespace striate
