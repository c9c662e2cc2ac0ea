#pragma once

#include <cstdint>
#include <filesystem>

#include "data/dataset.h"

namespace striate {

/// What runs of packed images are kept unpacked may take this much memory a part, but two runs always are.
inline constexpr uint64_t kHdf5RunMemory = uint64_t{512} << 20;
/// A chunk row that unpacks to more is refused.
inline constexpr uint64_t kHdf5LargestRun = uint64_t{1536} << 20;

/// Images and labels in the arrays of an HDF5 file: images-train and labels-train, images-val and labels-val,
/// images-test and perhaps labels-test. Images are unsigned 8-bit, N×3×H×W, N×H×W×3, N×1×H×W, N×H×W×1 or N×H×W; which,
/// their extents say: one of 3, or else 1, is the channels'. Labels are integers, N or N×1, from 0.
/// The validation images are `test` where the test images have no labels, which are `unlabelled` then; if both have
/// labels, they are `validation`. `class_names` is a file with a name a line; empty: classes are called by their
/// numbers up to the largest label.
/// Storage: contiguous, or chunked and either plain or deflated, is read by several threads at once; what else the
/// library can read (other filters, virtual or external storage) by one. Deflated chunks of several images make
/// runs(). Throws IoError with file, array, what was expected, found and what to do.
DatasetParts open_hdf5(const std::filesystem::path& file, const std::filesystem::path& class_names);

}  // namespace striate
