#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/config.h"
#include "data/open.h"

namespace striate {

struct PackOptions {
  /// How images are made smaller before they are packed: "S" (the shorter side), "H,W", "none"; empty: by the resize
  /// that the configuration's transforms begin with, so that training sees the same pixels. A part is packed by that of
  /// the transforms which it is seen through: train_transforms for train, test_transforms for the others. An image that
  /// would grow stays as it is.
  std::string resize{};
  int threads = 1;
  /// Told images done and in all, those left out among them; where it returns false packing stops.
  std::function<bool(int64_t done, int64_t total)> progress{};
  /// Told, before the first image, how many there are and how they are resized, and what was done before.
  std::function<void(const std::string&)> note{};
};

struct PackResult {
  bool is_finished = false;  ///< else `progress` stopped it, and the same call goes on
  int64_t images = 0, left_out = 0;
  uint64_t bytes = 0;  ///< of the file
};

/// Packs a dataset into a file, as PackedWriter does: with the same bytes whatever the number of threads and however
/// often it was interrupted. Images keep the source's order, and its channels unless `data.channels` makes colour grey.
/// With `skip_broken` broken images are left out and told to `options.on_broken`; `options.on_notice` is told when the
/// disk will not hold the file. Throws ConfigError for a dataset that draws its images anew every epoch, and where
/// transforms that begin differently would both see the training images; IoError for broken images, and as PackedWriter
/// does.
PackResult pack_dataset(const DataConfig& config, const OpenOptions& options, const std::string& output,
                        const PackOptions& pack);

}  // namespace striate
