// CIFAR's binary files: names of the classes (or nothing), a file for training, one for testing. CIFAR-10's five files
// for training are the same one. A record stands in the input as its labels and a pixel, which all of its pixels are:
// mutations of whole records would hardly ever meet a label. What is left at the end stands in the file as it is.
#include "data/datasets/cifar.h"

#include <filesystem>

#include "data/image.h"
#include "tests/fuzz/input.h"

namespace striate::fuzz {
namespace {

void check(const DatasetParts& parts, size_t classes) {
  Image image;
  for (const auto& part : {parts.train, parts.test}) {
    expect(part->class_names().size() == classes, "a name for every class");
    for (int64_t i = 0; i < part->size(); ++i) {
      expect(part->label(i) >= 0 && static_cast<size_t>(part->label(i)) < classes, "labels within the classes");
      part->load(i, image);
      expect(image.height == 32 && image.width == 32 && image.channels == 3, "pictures of 32x32 in colour");
    }
  }
}

std::string records(std::string_view input, size_t labels) {
  std::string file;
  for (; input.size() > labels; input.remove_prefix(labels + 1)) {
    file.append(input.substr(0, labels)).append(3072, input[labels]);
  }
  return file.append(input);
}

}  // namespace

void read_input(std::string_view input) {
  static const Folder ten, hundred;
  const auto files = split(input, 3);
  const bool is_ten = files[1].size() % 2 == 0;
  const std::string train = records(files[1], is_ten ? 1 : 2), test = records(files[2], is_ten ? 1 : 2);
  const Folder& folder = is_ten ? ten : hundred;
  const char* const names = is_ten ? "batches.meta.txt" : "fine_label_names.txt";
  if (files[0].empty()) {
    std::filesystem::remove(folder.path() / names);
  } else {
    folder.put(names, files[0]);
  }
  folder.put(is_ten ? "test_batch.bin" : "test.bin", test);
  if (!is_ten) {
    folder.put("train.bin", train);
    return check(open_cifar100(folder.path()), 100);
  }
  for (const char number : {'1', '2', '3', '4', '5'}) {
    folder.put(std::string("data_batch_") + number + ".bin", train);
  }
  check(open_cifar10(folder.path()), 10);
}

}  // namespace striate::fuzz
