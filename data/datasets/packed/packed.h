#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/normalization.h"

namespace striate {

/// A packed file's parts; packed_format.h describes it. The file is mapped, not read: opening costs the check of the
/// index (32 bytes a picture), and a picture's checksum is verified when the process first loads it, not again. Throws
/// IoError with file and place for what is no packed file, is unfinished, cut short or damaged; load() does so for a
/// picture whose pixels are.
DatasetParts open_packed(const std::filesystem::path& file);

/// What `normalize: dataset` is for a packed file: its source's mean and deviation. Empty where the source has none.
Normalization packed_normalization(const std::filesystem::path& file);

/// What a packed file holds.
struct PackedSummary {
  std::string source, recipe;                            ///< as in PackedMetadata
  std::vector<std::pair<std::string, int64_t>> parts{};  ///< name and images
  int64_t images = 0;
  int classes = 0, channels = 0;
  uint64_t bytes = 0;
};

/// Verifies all of a file, the pixels of every picture too. `progress` is told pictures done and in all; where it
/// returns false the check ends. Throws IoError as open_packed() and load() do.
PackedSummary check_packed(const std::filesystem::path& file,
                           const std::function<bool(int64_t done, int64_t total)>& progress);

}  // namespace striate
