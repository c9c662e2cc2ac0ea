#include "data/datasets/mnist.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "data/datasets/file_bytes.h"
#include "kernels/error.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kImageMagic = 0x00000803, kLabelMagic = 0x00000801;
// gzip cannot shrink anything further than this (deflate's limit is 1032:1), so that a header which promises more lies.
constexpr uint64_t kLargestGzipRatio = 1040;

uint32_t big_endian(const std::vector<uint8_t>& bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 | bytes[at + 3];
}

/// An IDX file's bytes after its magic and header length are checked.
std::vector<uint8_t> read_checked(const fs::path& file, uint32_t magic, size_t header, const char* kind) {
  std::error_code code;
  const auto on_disk = fs::file_size(file, code);
  require<IoError>(!code, "{}: cannot open: {}", file.string(), code.message());
  auto bytes = read_file(file, on_disk * kLargestGzipRatio + header);
  require<IoError>(bytes.size() >= header, "{}: too short for an IDX header: expected {} bytes at least, found {}",
                   file.string(), header, bytes.size());
  const uint32_t found = big_endian(bytes, 0);
  require<IoError>(found == magic, "{}: wrong magic number at byte 0: expected {:#010x} (IDX {}), found {:#010x}",
                   file.string(), magic, kind, found);
  return bytes;
}

void require_size(const fs::path& file, size_t found, size_t header, uint64_t expected, const std::string& why) {
  require<IoError>(found - header == expected, "{}: {}: expected {} bytes after the {}-byte header, found {}{}",
                   file.string(), why, expected, header, found - header,
                   found - header > expected ? " (something follows the data)" : " (the file is cut short)");
}

std::optional<fs::path> find_part(const fs::path& folder, const std::string& stem, const std::string& type) {
  // MNIST is handed round with "-idx3-ubyte" and with ".idx3-ubyte".
  for (const char* separator : {"-", "."}) {
    for (const char* ending : {"", ".gz"}) {
      const fs::path file = folder / (stem + separator + type + ending);
      std::error_code code;
      if (fs::is_regular_file(file, code)) return file;
    }
  }
  return std::nullopt;
}

fs::path require_part(const fs::path& folder, const std::string& stem, const std::string& type,
                      const std::string& source) {
  const auto file = find_part(folder, stem, type);
  require<IoError>(file.has_value(), "{}: no {}-{} or {}-{}.gz in it; {}", folder.string(), stem, type, stem, type,
                   source);
  return *file;
}

DatasetParts open_idx_folder(fs::path folder, const std::string& dataset, const std::string& raw,
                             const std::string& source, const std::vector<std::string>& class_names) {
  std::error_code code;
  require<IoError>(fs::is_directory(folder, code), "{}: {}: no such folder; {}", dataset, folder.string(), source);
  if (!find_part(folder, "train-images", "idx3-ubyte") && fs::is_directory(folder / raw / "raw", code)) {
    folder = folder / raw / "raw";
  }
  const auto open_part = [&](const std::string& part) {
    auto block =
        read_idx(require_part(folder, part + "-images", "idx3-ubyte", source),
                 require_part(folder, part + "-labels", "idx1-ubyte", source), static_cast<int>(class_names.size()));
    return std::make_shared<MemoryDataset>(std::move(block), class_names);
  };
  return {open_part("train"), open_part("t10k")};
}

}  // namespace

PictureBlock read_idx(const fs::path& images, const fs::path& labels, int classes) {
  constexpr size_t kImageHeader = 16, kLabelHeader = 8;
  auto pixels = read_checked(images, kImageMagic, kImageHeader, "images");
  const uint64_t count = big_endian(pixels, 4), height = big_endian(pixels, 8), width = big_endian(pixels, 12);
  require<IoError>(count > 0 && height > 0 && width > 0 && height <= 65535 && width <= 65535,
                   "{}: impossible sizes at byte 4: {} images of {}×{} pixels", images.string(), count, height, width);
  require_size(images, pixels.size(), kImageHeader, count * height * width,
               fmt::format("{} images of {}×{} pixels", count, height, width));

  auto classes_of = read_checked(labels, kLabelMagic, kLabelHeader, "labels");
  const uint64_t label_count = big_endian(classes_of, 4);
  require<IoError>(label_count == count, "{}: {} labels at byte 4, but {} has {} images", labels.string(), label_count,
                   images.string(), count);
  require_size(labels, classes_of.size(), kLabelHeader, count, fmt::format("{} labels", count));
  for (size_t at = kLabelHeader; at < classes_of.size(); ++at) {
    require<IoError>(classes_of[at] < classes, "{}: label out of range at byte {}: expected 0 to {}, found {}",
                     labels.string(), at, classes - 1, classes_of[at]);
  }

  PictureBlock block;
  block.height = static_cast<int>(height);
  block.width = static_cast<int>(width);
  block.channels = 1;
  block.source = images.string();
  pixels.erase(pixels.begin(), pixels.begin() + kImageHeader);
  classes_of.erase(classes_of.begin(), classes_of.begin() + kLabelHeader);
  pixels.shrink_to_fit();
  block.pixels = std::move(pixels);
  block.labels = std::move(classes_of);
  return block;
}

DatasetParts open_mnist(const fs::path& folder) {
  const std::string source =
      "MNIST's four IDX files can be had from https://ossci-datasets.s3.amazonaws.com/mnist/; set "
      "data.path to their folder";
  require<ConfigError>(!folder.empty(), "data.path is not set; {}", source);
  return open_idx_folder(folder, "mnist", "MNIST", source, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
}

DatasetParts open_fashion_mnist(fs::path folder) {
  if (folder.empty()) folder = kFashionMnistFolder;
  return open_idx_folder(
      folder, "fashion_mnist", "FashionMNIST",
      fmt::format("install it with `apt-get install dataset-fashion-mnist` (it comes to {}), or set "
                  "data.path to a folder with the four files from "
                  "https://github.com/zalandoresearch/fashion-mnist",
                  kFashionMnistFolder),
      {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"});
}

}  // namespace striate
