#include "data/datasets/imagenet/tar_index.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "data/datasets/imagenet/tar_members.h"
#include "data/datasets/picture_files.h"
#include "kernels/error.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

/// More is no photograph; 2012's largest picture has 15 MB.
constexpr uint64_t kMostPictureBytes = uint64_t{1} << 28;
constexpr size_t kMostNameBytes = std::numeric_limits<uint32_t>::max();
/// ImageNet has 1000; a tar can hold no more than bytes / 1024, but that many would be another thing.
constexpr size_t kMostFolders = size_t{1} << 20;

std::string file_name(const std::string& member) { return fs::path(member).filename().string(); }

}  // namespace

void TarIndex::add(uint32_t folder, std::string_view name, uint64_t offset, uint64_t size, const std::string& tar) {
  require<IoError>(size <= kMostPictureBytes, "{}: {}: {} bytes is too large for a picture", tar, name, size);
  require<IoError>(names_.size() + name.size() <= kMostNameBytes,
                   "{}: the names of its members take more than {} bytes", tar, kMostNameBytes);
  pictures_.push_back({offset, static_cast<uint32_t>(size), folder, static_cast<uint32_t>(names_.size()),
                       static_cast<uint32_t>(name.size())});
  names_ += name;
}

TarIndex TarIndex::build(const RandomAccessFile& tar, Layout layout,
                         const std::function<void(uint64_t, size_t)>& progress) {
  TarIndex index;
  const auto refuse_link = [&](const std::string& name) {
    require<IoError>(!is_picture_name(name), "{}: {} is a link; expected the picture itself", tar.path(), name);
  };
  const auto add_pictures_of = [&](FileRegion region, const std::string& name, uint32_t folder) {
    list_tar(
        tar, region, name,
        [&](const TarMember& member) {
          if (!is_picture_name(member.name)) return;
          index.add(folder, member.name, member.data.offset, member.data.size, tar.path());
          progress(member.data.offset, index.size());
        },
        refuse_link);
  };
  if (layout == Layout::pictures) {
    index.folders_ = {""};
    add_pictures_of({0, tar.size()}, "", 0);
  } else {
    list_tar(
        tar, {0, tar.size()}, "",
        [&](const TarMember& member) {
          const fs::path name = member.name;
          if (name.extension() != ".tar" || file_name(member.name).starts_with('.')) return;
          require<IoError>(index.folders_.size() < kMostFolders, "{}: it holds more than {} tars", tar.path(),
                           kMostFolders);
          index.folders_.push_back(name.stem().string());
          add_pictures_of(member.data, member.name, static_cast<uint32_t>(index.folders_.size() - 1));
        },
        [&](const std::string& name) {
          require<IoError>(fs::path(name).extension() != ".tar", "{}: {} is a link; expected the tar itself",
                           tar.path(), name);
        });
  }
  index.sort(tar.path());
  return index;
}

void TarIndex::sort(const std::string& tar) {
  std::vector<uint32_t> by_name(folders_.size()), place(folders_.size());
  std::iota(by_name.begin(), by_name.end(), 0u);
  std::sort(by_name.begin(), by_name.end(), [&](uint32_t a, uint32_t b) { return folders_[a] < folders_[b]; });
  std::vector<std::string> sorted;
  for (const uint32_t f : by_name) {
    place[f] = static_cast<uint32_t>(sorted.size());
    require<IoError>(sorted.empty() || sorted.back() != folders_[f], "{}: {}.tar is in it twice", tar, folders_[f]);
    sorted.push_back(folders_[f]);
  }
  folders_ = std::move(sorted);
  for (Picture& picture : pictures_) picture.folder = place[picture.folder];
  const auto name_of = [&](const Picture& p) { return std::string_view(names_).substr(p.name, p.name_length); };
  std::sort(pictures_.begin(), pictures_.end(), [&](const Picture& a, const Picture& b) {
    return a.folder != b.folder ? a.folder < b.folder : name_of(a) < name_of(b);
  });
  for (size_t i = 1; i < pictures_.size(); ++i) {
    require<IoError>(pictures_[i].folder != pictures_[i - 1].folder || name(i) != name(i - 1), "{}: {} is in it twice",
                     tar, name(i));
  }
}

}  // namespace striate
