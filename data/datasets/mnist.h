#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/datasets/memory_dataset.h"

namespace striate {

/// Where Debian's package dataset-fashion-mnist puts its files.
inline constexpr const char* kFashionMnistFolder = "/usr/share/datasets/fashion-mnist";

/// Pictures and labels from a pair of IDX files, plain or gzipped. Labels must lie in [0, classes).
/// Format: http://yann.lecun.com/exdb/mnist (big-endian magic 0x00000803 and 0x00000801, then sizes, then bytes).
/// Throws IoError with file, place, what was expected and what was found.
PictureBlock read_idx(const std::filesystem::path& images, const std::filesystem::path& labels, int classes);

/// MNIST from a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…; each with or without .gz.
/// torchvision's MNIST/raw below the folder is found too.
DatasetParts open_mnist(const std::filesystem::path& folder);

/// Fashion-MNIST, same files; an empty folder means Debian's.
DatasetParts open_fashion_mnist(std::filesystem::path folder);

}  // namespace striate
