#include "data/datasets/image_folder.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "data/datasets/encoded_pictures.h"
#include "data/datasets/picture_files.h"
#include "data/image_file.h"
#include "data/imagenet_classes.h"
#include "kernels/error.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

class ImageFolder final : public EncodedPictures {
 public:
  ImageFolder(std::vector<LabelledFile> files, std::vector<std::string> class_names)
      : files_(std::move(files)), class_names_(std::move(class_names)) {}

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int label(int64_t index) const override { return files_[index].label; }
  std::string describe(int64_t index) const override { return files_[index].path; }

 protected:
  std::span<const uint8_t> read(int64_t index, std::vector<uint8_t>& buffer) const override {
    return read_picture_bytes(files_[index].path, buffer);
  }

 private:
  std::vector<LabelledFile> files_;
  std::vector<std::string> class_names_;
};

/// Null where the folder holds no picture.
std::shared_ptr<const Dataset> open_unlabelled(const fs::path& folder, std::vector<std::string> class_names) {
  std::vector<LabelledFile> files;
  for (auto& path : picture_files(folder)) files.push_back({std::move(path), kUnlabelled});
  if (files.empty()) return nullptr;
  return labelled_files(std::move(files), readable_class_names(std::move(class_names)));
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 10; ++i) text += (i == 0 ? "" : ", ") + names[i];
  return names.size() > 10 ? text + ", …" : text;
}

}  // namespace

std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code code, ignored;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name.front() != '.' && it->is_directory(ignored)) names.push_back(name);
  }
  require<IoError>(!code, "{}: cannot read the folder: {}", folder.string(), code.message());
  std::sort(names.begin(), names.end());
  return names;
}

std::shared_ptr<const Dataset> labelled_files(std::vector<LabelledFile> files, std::vector<std::string> class_names) {
  return std::make_shared<ImageFolder>(std::move(files), std::move(class_names));
}

std::shared_ptr<const Dataset> open_class_folders(const fs::path& folder, const std::vector<std::string>& classes,
                                                  std::vector<std::string> class_names) {
  std::vector<LabelledFile> files;
  for (size_t c = 0; c < classes.size(); ++c) {
    const fs::path class_folder = folder / classes[c];
    std::vector<std::string> paths = picture_files(class_folder);
    require<IoError>(!paths.empty(), "{}: a class folder without a picture (jpg, png, bmp, ppm) in it",
                     class_folder.string());
    for (auto& path : paths) files.push_back({std::move(path), static_cast<int>(c)});
  }
  return labelled_files(std::move(files), std::move(class_names));
}

DatasetParts open_image_folder(const fs::path& folder) {
  require<ConfigError>(
      !folder.empty(),
      "data.path is not set; image_folder needs a folder with train/CLASS/* and val/CLASS/*, or CLASS/*");
  std::error_code code;
  require<IoError>(fs::is_directory(folder, code), "image_folder: {}: no such folder; set data.path", folder.string());
  const bool has_parts = fs::is_directory(folder / "train", code);
  const fs::path train = has_parts ? folder / "train" : folder;
  auto classes = class_folders(train);
  require<IoError>(!classes.empty(), "{}: no class folders in it; expected {}/CLASS/* with pictures", train.string(),
                   train.string());
  DatasetParts parts;
  parts.train = open_class_folders(train, classes, readable_class_names(classes));
  if (!has_parts) return parts;
  for (const char* name : {"val", "test"}) {
    const fs::path test = folder / name;
    if (!fs::is_directory(test, code)) continue;
    const auto test_classes = class_folders(test);
    const bool is_second = parts.test != nullptr;
    if (is_second && test_classes == classes) break;
    if (is_second || (name == std::string("test") && test_classes.empty())) {
      parts.unlabelled = open_unlabelled(test, classes);
      break;
    }
    require<IoError>(test_classes == classes,
                     "{}: its class folders differ from those of {}: expected {} ({}), found {} ({})", test.string(),
                     train.string(), classes.size(), joined(classes), test_classes.size(), joined(test_classes));
    parts.test = open_class_folders(test, classes, readable_class_names(classes));
  }
  return parts;
}

}  // namespace striate
