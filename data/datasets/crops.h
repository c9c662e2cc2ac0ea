#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "data/dataset.h"

namespace striate {

/// Pieces of photographs, labelled by the photograph that they come from: natural images to train a first layer on.
/// The class of crop i is photograph i mod (number of photographs). Photographs are the files in a folder and the
/// folders below it that end like a picture's (jpg jpeg png bmp ppm pgm pnm, in any case), in the order of their sorted
/// paths; one that is found twice, through links, counts once. A class is called as its file without the ending, and
/// where two would be the same, as the path below the folder.
struct CropsOptions {
  int height = 64, width = 64;          ///< of a crop, in pixels
  double scale_min = 1, scale_max = 3;  ///< a crop shows a window of size·s resized; s is uniform in its logarithm
  int64_t train_crops = 10000, test_crops = 2000;  ///< an epoch's, spread evenly over the photographs
  /// The part of every photograph's longer side, at its right or lower end, that the test crops come from and training
  /// crops never touch; at least a crop wide. 0: there is no test part.
  double held_out = 0.2;
  /// A photograph whose longer side is larger is shrunk to it when it is read. All are kept in memory, which takes
  /// 3·largest_side² bytes a photograph at most.
  int largest_side = 1600;
  uint64_t seed = 0;
  int threads = 1;           ///< that read the photographs
  bool skip_broken = false;  ///< leaves out what cannot be read or is too small, and tells `on_broken`
  std::function<void(const std::string&)> on_broken{};
};

/// All photographs together may take no more memory than this.
inline constexpr int64_t kMostPhotographBytes = int64_t{4} << 30;

/// Reads the photographs. Every training crop is drawn by (seed, epoch, index), every test crop by (seed, index) alone.
/// Throws ConfigError for options that make no sense or need more memory than kMostPhotographBytes; IoError that names
/// it for a folder that is missing or holds no picture, and for a photograph that is broken or in which no crop fits
/// beside the held-out part.
DatasetParts open_crops(const std::filesystem::path& folder, const CropsOptions& options);

}  // namespace striate
