#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/data/dataset_files.h"

namespace striate::test {

/// What goes into a tar: a regular file with its bytes, or something else.
struct TarEntry {
  enum class Kind { file, folder, symbolic_link, hard_link, with_a_hole };  ///< the last: pax only
  std::string name;
  Bytes bytes{};
  Kind kind = Kind::file;
  std::string target{};  ///< of a link
};

enum class TarFormat { ustar, pax, gnu };

Bytes tar(const std::vector<TarEntry>& entries, TarFormat format = TarFormat::ustar);

/// Where a member's header lies: the first block that begins with `name`.
size_t tar_header(const Bytes& tar, std::string_view name);
/// Makes a header claim another size, in octal digits or in the base-256 form, with a checksum that fits.
void set_tar_size(Bytes& tar, size_t header, uint64_t size, bool base256);

/// A synset as ImageNet's meta.mat has it.
struct Synset {
  double id;
  std::string wordnet, words;
  double children = 0;
};
/// A MATLAB file of version 5 with `synsets`, a struct array with the fields ILSVRC2012_ID, WNID, words and
/// num_children, uncompressed.
Bytes mat_file(const std::vector<Synset>& synsets);

}  // namespace striate::test
