#include "data/datasets/memory_dataset.h"

#include <fmt/format.h>

#include <algorithm>

namespace striate {

void MemoryDataset::load(int64_t index, Image& image) const {
  image.reshape(block_.height, block_.width, block_.channels);
  const size_t bytes = image.pixels.size();
  std::copy_n(block_.pixels.data() + static_cast<size_t>(index) * bytes, bytes, image.pixels.data());
}

std::string MemoryDataset::describe(int64_t index) const { return fmt::format("{}, image {}", block_.source, index); }

}  // namespace striate
