#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace striate {

/// Pictures in a folder a class: FOLDER/train/CLASS/… and FOLDER/val/CLASS/… (or test/CLASS/…), or FOLDER/CLASS/…
/// alone, which has no test part. A folder test/ without class folders, or beside val/ with others than train's, is the
/// unlabelled part. Classes are numbered in the order of the sorted folder names, pictures in the order
/// of their sorted paths; folders below a class belong to it. Files count as pictures by their ending (jpg jpeg png bmp
/// ppm pgm pnm, in any case); hidden ones do not. Classes are called as their folders, or as ImageNet's where those are
/// WordNet ids. Every picture is read as RGB. Throws IoError if a folder is missing, has no class or a class without a
/// picture, or if the parts' classes differ.
DatasetParts open_image_folder(const std::filesystem::path& folder);

/// The folders in a folder, sorted; hidden ones are left out. Throws IoError where it cannot be read.
std::vector<std::string> class_folders(const std::filesystem::path& folder);
/// FOLDER/CLASS/… of the classes named, as above. Throws IoError where one has no picture.
std::shared_ptr<const Dataset> open_class_folders(const std::filesystem::path& folder,
                                                  const std::vector<std::string>& classes,
                                                  std::vector<std::string> class_names);

struct LabelledFile {
  std::string path;
  int label;
};
/// Pictures in files, RGB.
std::shared_ptr<const Dataset> labelled_files(std::vector<LabelledFile> files, std::vector<std::string> class_names);

}  // namespace striate
