#include "data/datasets/memory_dataset.h"

#include <fmt/format.h>

#include <algorithm>

namespace striate {

void MemoryDataset::load(int64_t index, Image& image) const {
  image.reshape(block_.height, block_.width, block_.channels);
  const size_t bytes = image.pixels.size();
  std::copy_n(block_.pixels.data() + static_cast<size_t>(index) * bytes, bytes, image.pixels.data());
}

Part MemoryDataset::load_part(int64_t index, int64_t, const ChoosePart& choose, Image& image) const {
  const Window window = choose(block_.height, block_.width).window;
  const size_t row_bytes = static_cast<size_t>(block_.width) * block_.channels;
  const uint8_t* picture = block_.pixels.data() + static_cast<size_t>(index) * block_.height * row_bytes;
  copy_window(picture, row_bytes, window, block_.channels, image);
  return {window};
}

std::string MemoryDataset::describe(int64_t index) const { return fmt::format("{}, image {}", block_.source, index); }

}  // namespace striate
