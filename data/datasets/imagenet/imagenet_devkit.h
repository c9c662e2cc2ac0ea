#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace striate {

/// What the development kit of ILSVRC 2012 says of the classes and of the validation pictures.
struct ImagenetDevkit {
  /// The classes' WordNet ids, and of each the first of its names ("tench" of "tench, Tinca tinca").
  std::map<std::string, std::string> names;
  /// The WordNet id of validation picture i + 1.
  std::vector<std::string> validation;
};

/// Whether a folder holds the kit: ILSVRC2012_devkit_t12.tar.gz, or ILSVRC2012_devkit_t12/ that came out of it.
bool has_imagenet_devkit(const std::filesystem::path& folder);

/// Reads data/meta.mat and data/ILSVRC2012_validation_ground_truth.txt of the kit. Throws IoError where one is missing
/// or damaged, or where a line of the latter names no class of the former.
ImagenetDevkit read_imagenet_devkit(const std::filesystem::path& folder);

}  // namespace striate
