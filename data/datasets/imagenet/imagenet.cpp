#include "data/datasets/imagenet/imagenet.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "data/datasets/encoded_pictures.h"
#include "data/datasets/image_folder.h"
#include "data/datasets/imagenet/imagenet_devkit.h"
#include "data/datasets/imagenet/random_access_file.h"
#include "data/datasets/imagenet/tar_index.h"
#include "data/datasets/picture_files.h"
#include "data/imagenet_classes.h"
#include "kernels/error.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using Notice = std::function<void(const std::string&)>;

constexpr const char* kTrainTar = "ILSVRC2012_img_train.tar";
constexpr const char* kValTar = "ILSVRC2012_img_val.tar";
constexpr const char* kKit = "ILSVRC2012_devkit_t12.tar.gz";
constexpr const char* kDownloads = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php";
constexpr std::string_view kValName = "ILSVRC2012_val_";

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored) && !fs::is_directory(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// Pictures within a tar.
class TarPictures final : public EncodedPictures {
 public:
  /// `labels` has one for each picture of the index, or kUnlabelled for one that is left out.
  TarPictures(std::shared_ptr<const RandomAccessFile> tar, TarIndex index, const std::vector<int>& labels,
              std::vector<std::string> class_names)
      : tar_(std::move(tar)), index_(std::move(index)), class_names_(std::move(class_names)) {
    for (size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] != kUnlabelled) samples_.push_back({static_cast<uint32_t>(i), labels[i]});
    }
  }

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int label(int64_t index) const override { return samples_[static_cast<size_t>(index)].label; }
  std::string describe(int64_t index) const override {
    const uint32_t place = samples_[static_cast<size_t>(index)].place;
    const std::string& folder = index_.folders()[index_[place].folder];
    return fmt::format("{}: {}{}{}", tar_->path(), folder, folder.empty() ? "" : "/", index_.name(place));
  }

 protected:
  std::span<const uint8_t> read(int64_t index, std::vector<uint8_t>& buffer) const override {
    const TarIndex::Picture& picture = index_[samples_[static_cast<size_t>(index)].place];
    if (buffer.size() < picture.size) buffer.resize(picture.size);
    const std::span<uint8_t> bytes(buffer.data(), picture.size);
    tar_->read(picture.offset, bytes);
    return bytes;
  }

 private:
  struct Sample {
    uint32_t place;
    int label;
  };
  std::shared_ptr<const RandomAccessFile> tar_;
  TarIndex index_;
  std::vector<Sample> samples_;
  std::vector<std::string> class_names_;
};

/// The number in ILSVRC2012_val_00000001.JPEG; 0 where a name is another.
size_t validation_number(const std::string& path) {
  const std::string name = fs::path(path).stem().string();
  size_t number = 0;
  if (!name.starts_with(kValName)) return 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kValName.size(), end, number);
  return error == std::errc{} && stop == end ? number : 0;
}

/// The labels of validation pictures by their names, kUnlabelled for those of classes that are not in `ids`.
std::vector<int> validation_labels(const std::vector<std::string>& names, const ImagenetDevkit& kit,
                                   const std::vector<std::string>& ids, const std::string& source) {
  const size_t count = kit.validation.size();
  require<IoError>(names.size() == count,
                   "{}: {} pictures, but the ground truth of {} labels {}: one of them is cut "
                   "short or of another year; fetch both again",
                   source, names.size(), kKit, count);
  std::map<std::string_view, int> class_of;
  for (size_t c = 0; c < ids.size(); ++c) class_of.emplace(ids[c], static_cast<int>(c));
  std::vector<bool> seen(count + 1);
  std::vector<int> labels;
  for (const std::string& name : names) {
    const size_t number = validation_number(name);
    require<IoError>(number >= 1 && number <= count,
                     "{}: {}: expected a name from ILSVRC2012_val_00000001.JPEG to ILSVRC2012_val_{:08}.JPEG", source,
                     name, count);
    require<IoError>(!seen[number], "{}: {}: its number is there twice", source, name);
    seen[number] = true;
    const auto found = class_of.find(kit.validation[number - 1]);
    labels.push_back(found == class_of.end() ? kUnlabelled : found->second);
  }
  return labels;
}

/// What is known of the dataset as it is opened.
struct Opening {
  fs::path folder;
  const Notice& notice;
  std::optional<ImagenetDevkit> kit;
  std::vector<std::string> ids{};  ///< the classes' WordNet ids, sorted

  const ImagenetDevkit& kit_for(const fs::path& pictures) const {
    require<IoError>(kit.has_value(),
                     "{}: which classes its pictures have stands in {}, which is not in {}; fetch it (2.5 MB) from {}, "
                     "or sort the pictures into class folders",
                     pictures.string(), kKit, folder.string(), kDownloads);
    return *kit;
  }

  std::vector<std::string> class_names() const {
    std::vector<std::string> names = readable_class_names(ids);
    for (std::string& name : names) {
      // One of another year, for which only the kit may have a name.
      if (!kit || !is_wordnet_id(name)) continue;
      const auto found = kit->names.find(name);
      if (found != kit->names.end() && !found->second.empty()) name = fmt::format("{} ({})", found->second, name);
    }
    return names;
  }
};

std::shared_ptr<const Dataset> open_train_tar(Opening& opening) {
  const auto tar = std::make_shared<RandomAccessFile>(opening.folder / kTrainTar);
  TarIndex index = cached_tar_index(*tar, TarIndex::Layout::tars_of_pictures, opening.notice);
  opening.ids = index.folders();
  for (const std::string& id : opening.ids) {
    require<IoError>(is_wordnet_id(id), "{}: it holds {}.tar; expected tars that are called like n01440764.tar",
                     tar->path(), id);
  }
  std::vector<bool> filled(opening.ids.size());
  std::vector<int> labels;
  for (size_t i = 0; i < index.size(); ++i) {
    labels.push_back(static_cast<int>(index[i].folder));
    filled[index[i].folder] = true;
  }
  require<IoError>(!labels.empty(), "{}: no tar with pictures is in it; expected n01440764.tar and others",
                   tar->path());
  for (size_t c = 0; c < filled.size(); ++c) {
    require<IoError>(filled[c], "{}: {}.tar in it holds no picture", tar->path(), opening.ids[c]);
  }
  return std::make_shared<TarPictures>(tar, std::move(index), labels, opening.class_names());
}

/// The classes of a validation part without a training part: all that the kit has.
void take_ids_of(const ImagenetDevkit& kit, Opening& opening) {
  if (!opening.ids.empty()) return;
  for (const auto& [id, name] : kit.names) opening.ids.push_back(id);
}

void tell_left_out(const Opening& opening, const std::string& source, const std::vector<int>& labels) {
  const auto left_out = static_cast<size_t>(std::count(labels.begin(), labels.end(), kUnlabelled));
  require<IoError>(left_out < labels.size(), "{}: none of its pictures is of the {} classes of the training part",
                   source, opening.ids.size());
  if (left_out == 0) return;
  opening.notice(
      fmt::format("{}: {} of {} pictures are of the {} classes of the training part; the others are left out", source,
                  labels.size() - left_out, labels.size(), opening.ids.size()));
}

std::shared_ptr<const Dataset> open_val_tar(Opening& opening) {
  const fs::path path = opening.folder / kValTar;
  const ImagenetDevkit& kit = opening.kit_for(path);
  take_ids_of(kit, opening);
  const auto tar = std::make_shared<RandomAccessFile>(path);
  TarIndex index = cached_tar_index(*tar, TarIndex::Layout::pictures, opening.notice);
  std::vector<std::string> names;
  for (size_t i = 0; i < index.size(); ++i) names.emplace_back(index.name(i));
  const auto labels = validation_labels(names, kit, opening.ids, tar->path());
  tell_left_out(opening, tar->path(), labels);
  return std::make_shared<TarPictures>(tar, std::move(index), labels, opening.class_names());
}

std::shared_ptr<const Dataset> open_val_folder(Opening& opening) {
  const fs::path path = opening.folder / "val";
  if (const auto classes = class_folders(path); !classes.empty()) {
    if (opening.ids.empty()) opening.ids = classes;
    std::vector<std::string> missing;
    std::set_difference(opening.ids.begin(), opening.ids.end(), classes.begin(), classes.end(),
                        std::back_inserter(missing));
    require<IoError>(missing.empty(), "{}: {} of the {} classes of the training part have no folder in it, {} first",
                     path.string(), missing.size(), opening.ids.size(), missing.empty() ? "" : missing.front());
    if (classes.size() > opening.ids.size()) {
      opening.notice(
          fmt::format("{}: {} of its {} class folders are those of the training part; the others are left out",
                      path.string(), opening.ids.size(), classes.size()));
    }
    return open_class_folders(path, opening.ids, opening.class_names());
  }
  std::vector<std::string> names = picture_files(path);
  require<IoError>(!names.empty(), "{}: no picture and no class folder is in it", path.string());
  const ImagenetDevkit& kit = opening.kit_for(path);
  take_ids_of(kit, opening);
  const auto labels = validation_labels(names, kit, opening.ids, path.string());
  tell_left_out(opening, path.string(), labels);
  std::vector<LabelledFile> files;
  for (size_t i = 0; i < names.size(); ++i) {
    if (labels[i] != kUnlabelled) files.push_back({std::move(names[i]), labels[i]});
  }
  return labelled_files(std::move(files), opening.class_names());
}

}  // namespace

DatasetParts open_imagenet(const fs::path& folder, const Notice& notice) {
  require<ConfigError>(!folder.empty(), "data.path is not set; imagenet needs the folder that holds {} and {}",
                       kTrainTar, kValTar);
  require<IoError>(is_folder(folder), "imagenet: {}: no such folder; set data.path", folder.string());
  Opening opening{folder, notice, std::nullopt};
  if (has_imagenet_devkit(folder)) opening.kit = read_imagenet_devkit(folder);
  DatasetParts parts;
  if (is_file(folder / kTrainTar)) {
    parts.train = open_train_tar(opening);
  } else if (is_folder(folder / "train")) {
    opening.ids = class_folders(folder / "train");
    require<IoError>(!opening.ids.empty(), "{}: no class folders in it; expected n01440764/ and others with pictures",
                     (folder / "train").string());
    parts.train = open_class_folders(folder / "train", opening.ids, opening.class_names());
  }
  if (is_file(folder / kValTar)) {
    parts.test = open_val_tar(opening);
  } else if (is_folder(folder / "val")) {
    parts.test = open_val_folder(opening);
  }
  require<IoError>(parts.train != nullptr || parts.test != nullptr,
                   "imagenet: {} holds neither {} nor {}, nor train/ or val/; fetch them from "
                   "{} (an account is needed), with {}",
                   folder.string(), kTrainTar, kValTar, kDownloads, kKit);
  return parts;
}

}  // namespace striate
