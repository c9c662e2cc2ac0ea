#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "data/dataset.h"

namespace striate {

/// ImageNet 2012 (ILSVRC 2012) from a folder that holds what is published, read as it is:
///   training    ILSVRC2012_img_train.tar, or train/n01440764/…
///   validation  ILSVRC2012_img_val.tar, or val/n01440764/…, or val/ILSVRC2012_val_00000001.JPEG …
///   the kit     ILSVRC2012_devkit_t12.tar.gz, or the folder of that name: needed where validation pictures do not lie
///               in class folders
/// A tar goes before a folder. Classes are numbered in the order of their sorted WordNet ids, pictures of a class in
/// the order of their names, so that tars and extracted files give the same dataset. Where the training part has a part
/// of the classes, the validation pictures of the others are left out; without a training part, `train` is null. The
/// first use of a tar goes through its headers, see cached_tar_index(); `notice` is told of that and of what is left
/// out. Throws IoError for what is missing, damaged or does not fit together.
DatasetParts open_imagenet(const std::filesystem::path& folder, const std::function<void(const std::string&)>& notice);

}  // namespace striate
