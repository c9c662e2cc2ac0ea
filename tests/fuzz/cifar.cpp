// CIFAR's binary files: names of the classes (or nothing), a file for training, one for testing. CIFAR-10's five files
// for training are the same one.
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

}  // namespace

void read_input(std::string_view input) {
  static const Folder ten, hundred;
  const auto files = split(input, 3);
  const bool is_ten = files[1].size() % 3073 == 0;
  const Folder& folder = is_ten ? ten : hundred;
  const char* const names = is_ten ? "batches.meta.txt" : "fine_label_names.txt";
  if (files[0].empty()) {
    std::filesystem::remove(folder.path() / names);
  } else {
    folder.put(names, files[0]);
  }
  folder.put(is_ten ? "test_batch.bin" : "test.bin", files[2]);
  if (!is_ten) {
    folder.put("train.bin", files[1]);
    return check(open_cifar100(folder.path()), 100);
  }
  for (const char number : {'1', '2', '3', '4', '5'}) {
    folder.put(std::string("data_batch_") + number + ".bin", files[1]);
  }
  check(open_cifar10(folder.path()), 10);
}

}  // namespace striate::fuzz
