#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace striate {

/// CIFAR-10's binary version: data_batch_1.bin to data_batch_5.bin and test_batch.bin in the folder or in its
/// cifar-10-batches-bin; names from batches.meta.txt where it lies beside them. 32×32 RGB, a record is a label and
/// three planes. Format and files: https://www.cs.toronto.edu/~kriz/cifar.html. Throws IoError as read_idx does.
DatasetParts open_cifar10(const std::filesystem::path& folder);

/// CIFAR-100's binary version: train.bin and test.bin in the folder or in its cifar-100-binary; the fine labels; names
/// from fine_label_names.txt where it lies beside them.
DatasetParts open_cifar100(const std::filesystem::path& folder);

}  // namespace striate
