#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/datasets/imagenet/random_access_file.h"

namespace striate {

/// Where every picture of a tar lies: pictures (by their ending) in the tar itself, or in the tars that it holds, one a
/// folder. Sorted by folder and name, so that they come in the order in which the extracted files would.
class TarIndex {
 public:
  enum class Layout : uint32_t { pictures, tars_of_pictures };
  struct Picture {
    uint64_t offset;  ///< in the file
    uint32_t size;
    uint32_t folder;  ///< into folders()
    uint32_t name, name_length;
  };

  size_t size() const { return pictures_.size(); }
  const Picture& operator[](size_t i) const { return pictures_[i]; }
  std::string_view name(size_t i) const {
    return std::string_view(names_).substr(pictures_[i].name, pictures_[i].name_length);
  }
  /// The names of the tars within without their ending, sorted; one empty name where the tar itself holds the pictures.
  const std::vector<std::string>& folders() const { return folders_; }

  /// Goes through the tar once, reading headers only. `progress` is told how many bytes and pictures lie behind. Throws
  /// IoError for damaged tars, tars and pictures that are there twice, and for pictures that are links.
  static TarIndex build(const RandomAccessFile& tar, Layout layout,
                        const std::function<void(uint64_t bytes, size_t pictures)>& progress);

  /// The index as bytes, with the tar's size and time and a checksum.
  std::string serialized(const RandomAccessFile& tar, Layout layout) const;
  /// Reads it back; nothing where the bytes are damaged or of another version, tar, size, time or layout.
  static std::optional<TarIndex> parse(std::string_view bytes, const RandomAccessFile& tar, Layout layout);

 private:
  void add(uint32_t folder, std::string_view name, uint64_t offset, uint64_t size, const std::string& tar);
  void sort(const std::string& tar);

  std::vector<std::string> folders_;
  std::vector<Picture> pictures_;
  std::string names_;
};

/// The index of a tar, from the file in which an earlier call kept it, TAR.index beside the tar or, where that folder
/// cannot be written, in $XDG_CACHE_HOME/striate (or ~/.cache/striate); where there is none or it does not fit the tar
/// any more, it is built and kept. `notice` is told what takes time, and where the index cannot be kept.
TarIndex cached_tar_index(const RandomAccessFile& tar, TarIndex::Layout layout,
                          const std::function<void(const std::string&)>& notice);

/// Where the index of a tar is looked for and kept, the best place first.
std::vector<std::filesystem::path> tar_index_files(const std::filesystem::path& tar);

}  // namespace striate
