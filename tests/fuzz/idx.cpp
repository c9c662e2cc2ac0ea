// MNIST's files, plain or gzipped: images, labels.
#include "data/datasets/mnist.h"
#include "tests/fuzz/input.h"

namespace striate::fuzz {

void read_input(std::string_view input) {
  static const Folder folder;
  const auto files = split(input, 2);
  const PictureBlock block = read_idx(folder.put("images", files[0]), folder.put("labels", files[1]), 10);
  expect(block.channels == 1 && block.height > 0 && block.width > 0, "grey pictures of some size");
  const size_t pixels = static_cast<size_t>(block.height) * static_cast<size_t>(block.width);
  expect(block.pixels.size() == pixels * block.labels.size(), "as many pictures as labels");
  for (const uint8_t label : block.labels) expect(label < 10, "labels of ten classes");
}

}  // namespace striate::fuzz
