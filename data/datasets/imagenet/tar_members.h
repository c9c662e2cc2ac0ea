#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/datasets/imagenet/random_access_file.h"

namespace striate {

/// A part of a file.
struct FileRegion {
  uint64_t offset = 0, size = 0;
};

/// A regular file in a tar, whose bytes lie where `data` says.
struct TarMember {
  std::string name;
  FileRegion data;
};

/// Calls `found` for every regular file of the (uncompressed) tar that lies in a region of `file`, in their order; only
/// headers are read. Folders, devices and the like are passed over, links are told to `link` by their names. Throws
/// IoError with the file, `name` (what the tar is called in it; empty: it is the file) and the place for a tar that is
/// damaged, cut short, lacks the zeros that end a tar, has a member that reaches beyond it, or is followed by another.
void list_tar(const RandomAccessFile& file, FileRegion region, const std::string& name,
              const std::function<void(TarMember)>& found, const std::function<void(const std::string&)>& link);

}  // namespace striate
