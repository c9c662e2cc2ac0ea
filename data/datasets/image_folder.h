#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace striate {

/// Pictures in a folder a class: FOLDER/train/CLASS/… and FOLDER/val/CLASS/… (or test/CLASS/…), or FOLDER/CLASS/…
/// alone, which has no test part. A folder test/ without class folders, or beside val/ with others than train's, is the
/// unlabelled part. Classes are numbered in the order of the sorted folder names, pictures in the order
/// of their sorted paths; folders below a class belong to it. Files count as pictures by their ending (jpg jpeg png bmp
/// ppm pgm pnm, in any case). Every picture is read as RGB. Throws IoError if a folder is missing, has no class
/// or a class without a picture, or if the parts' classes differ.
DatasetParts open_image_folder(const std::filesystem::path& folder);

}  // namespace striate
