#include "data/datasets/cifar.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "data/datasets/file_bytes.h"
#include "data/datasets/memory_dataset.h"
#include "kernels/error.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 32, kChannels = 3, kPlane = kSide * kSide, kPicture = kChannels * kPlane;

struct Layout {
  std::string dataset, archive_folder, names_file;
  int label_bytes;  // the last of them is the label that is learned
  int classes;
  std::string source;
};

const std::vector<std::string>& cifar10_names() {
  static const std::vector<std::string> names = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                 "dog",      "frog",       "horse", "ship", "truck"};
  return names;
}

const std::vector<std::string>& cifar100_names() {
  static const std::vector<std::string> names = {
      "apple",      "aquarium_fish", "baby",         "bear",       "beaver",      "bed",         "bee",
      "beetle",     "bicycle",       "bottle",       "bowl",       "boy",         "bridge",      "bus",
      "butterfly",  "camel",         "can",          "castle",     "caterpillar", "cattle",      "chair",
      "chimpanzee", "clock",         "cloud",        "cockroach",  "couch",       "crab",        "crocodile",
      "cup",        "dinosaur",      "dolphin",      "elephant",   "flatfish",    "forest",      "fox",
      "girl",       "hamster",       "house",        "kangaroo",   "keyboard",    "lamp",        "lawn_mower",
      "leopard",    "lion",          "lizard",       "lobster",    "man",         "maple_tree",  "motorcycle",
      "mountain",   "mouse",         "mushroom",     "oak_tree",   "orange",      "orchid",      "otter",
      "palm_tree",  "pear",          "pickup_truck", "pine_tree",  "plain",       "plate",       "poppy",
      "porcupine",  "possum",        "rabbit",       "raccoon",    "ray",         "road",        "rocket",
      "rose",       "sea",           "seal",         "shark",      "shrew",       "skunk",       "skyscraper",
      "snail",      "snake",         "spider",       "squirrel",   "streetcar",   "sunflower",   "sweet_pepper",
      "table",      "tank",          "telephone",    "television", "tiger",       "tractor",     "train",
      "trout",      "tulip",         "turtle",       "wardrobe",   "whale",       "willow_tree", "wolf",
      "woman",      "worm"};
  return names;
}

void append_records(const fs::path& file, const Layout& layout, PictureBlock& block) {
  const auto bytes = read_file(file);
  const size_t record = layout.label_bytes + kPicture;
  require<IoError>(
      !bytes.empty() && bytes.size() % record == 0,
      "{}: expected a whole number of {}-byte records ({} label byte{} and 3×32×32 pixels), found {} bytes: "
      "{} records and {} bytes more",
      file.string(), record, layout.label_bytes, layout.label_bytes == 1 ? "" : "s", bytes.size(),
      bytes.size() / record, bytes.size() % record);
  const size_t count = bytes.size() / record;
  const size_t before = block.labels.size();
  block.labels.resize(before + count);
  block.pixels.resize((before + count) * kPicture);
  for (size_t r = 0; r < count; ++r) {
    const uint8_t* in = bytes.data() + r * record;
    const uint8_t label = in[layout.label_bytes - 1];
    require<IoError>(label < layout.classes, "{}: label out of range at byte {}: expected 0 to {}, found {}",
                     file.string(), r * record + layout.label_bytes - 1, layout.classes - 1, label);
    block.labels[before + r] = label;
    const uint8_t* planes = in + layout.label_bytes;
    uint8_t* out = block.pixels.data() + (before + r) * kPicture;
    for (int p = 0; p < kPlane; ++p) {
      for (int c = 0; c < kChannels; ++c) out[p * kChannels + c] = planes[c * kPlane + p];
    }
  }
}

DatasetParts open_cifar(fs::path folder, const Layout& layout, const std::vector<std::string>& train_files,
                        const std::string& test_file, std::vector<std::string> names) {
  require<ConfigError>(!folder.empty(), "data.path is not set; {}", layout.source);
  std::error_code code;
  require<IoError>(fs::is_directory(folder, code), "{}: {}: no such folder; {}", layout.dataset, folder.string(),
                   layout.source);
  if (fs::is_directory(folder / layout.archive_folder, code)) folder /= layout.archive_folder;
  if (fs::is_regular_file(folder / layout.names_file, code)) {
    names = read_class_names(folder / layout.names_file, layout.classes);
  }
  const auto read_part = [&](const std::vector<std::string>& files) {
    PictureBlock block;
    block.height = block.width = kSide;
    block.channels = kChannels;
    block.source = (folder / files.front()).string();
    if (files.size() > 1) block.source += fmt::format(" to {}", files.back());
    for (const auto& file : files) {
      require<IoError>(fs::is_regular_file(folder / file, code), "{}: no {} in it; {}", folder.string(), file,
                       layout.source);
      append_records(folder / file, layout, block);
    }
    return std::make_shared<MemoryDataset>(std::move(block), names);
  };
  return {read_part(train_files), read_part({test_file})};
}

}  // namespace

DatasetParts open_cifar10(const fs::path& folder) {
  const Layout layout{"cifar10",
                      "cifar-10-batches-bin",
                      "batches.meta.txt",
                      1,
                      10,
                      "get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it, and set "
                      "data.path to its folder"};
  return open_cifar(
      folder, layout,
      {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
      "test_batch.bin", cifar10_names());
}

DatasetParts open_cifar100(const fs::path& folder) {
  const Layout layout{
      "cifar100",
      "cifar-100-binary",
      "fine_label_names.txt",
      2,
      100,
      "get cifar-100-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it, and set "
      "data.path to its folder"};
  return open_cifar(folder, layout, {"train.bin"}, "test.bin", cifar100_names());
}

}  // namespace striate
