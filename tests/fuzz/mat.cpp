// A MATLAB file, like the one that names ImageNet's classes.
#include "data/datasets/imagenet/mat_file.h"
#include "tests/fuzz/input.h"

namespace striate::fuzz {

void read_input(std::string_view input) {
  static const std::vector<std::string> fields = {"words", "ILSVRC2012_ID", "WNID", "num_children"};
  const std::span<const uint8_t> bytes{reinterpret_cast<const uint8_t*>(input.data()), input.size()};
  const auto columns = read_mat_structs(bytes, "synsets", fields, "meta.mat");
  expect(columns.size() == fields.size(), "every field");
  for (const MatField& column : columns) {
    expect(column.numbers.size() == columns[0].numbers.size() && column.texts.size() == columns[0].texts.size(),
           "the same number of elements in every field");
  }
}

}  // namespace striate::fuzz
