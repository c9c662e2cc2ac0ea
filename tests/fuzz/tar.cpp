// A tar, of pictures or of tars of pictures: indexed, and the index written and read back. Mutated with the checksums
// of its headers set right again as a rule.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "data/datasets/imagenet/random_access_file.h"
#include "data/datasets/imagenet/tar_index.h"
#include "kernels/error.h"
#include "tests/fuzz/input.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace striate::fuzz {
namespace {

constexpr size_t kBlock = 512, kChecksum = 148, kChecksumLength = 8, kMagic = 257;

void set_right(uint8_t* data, size_t size) {
  for (size_t at = 0; at + kBlock <= size; at += kBlock) {
    uint8_t* header = data + at;
    if (std::memcmp(header + kMagic, "ustar", 5) != 0) continue;
    std::fill_n(header + kChecksum, kChecksumLength, uint8_t{' '});
    unsigned sum = 0;
    for (size_t i = 0; i < kBlock; ++i) sum += header[i];
    char text[kChecksumLength];
    std::snprintf(text, sizeof text, "%06o", sum);
    std::memcpy(header + kChecksum, text, 7);
  }
}

void check(const RandomAccessFile& tar, TarIndex::Layout layout) {
  const TarIndex index = TarIndex::build(tar, layout, [](uint64_t, size_t) {});
  for (size_t i = 0; i < index.size(); ++i) {
    expect(index[i].offset <= tar.size() && index[i].size <= tar.size() - index[i].offset, "pictures within the tar");
    expect(index[i].folder < index.folders().size() && !index.name(i).empty(), "a folder and a name");
  }
  const std::string bytes = index.serialized(tar, layout);
  const auto again = TarIndex::parse(bytes, tar, layout);
  expect(again.has_value() && again->serialized(tar, layout) == bytes, "the index that was written");
}

}  // namespace

void read_input(std::string_view input) {
  static const Folder folder;
  const RandomAccessFile tar(folder.put("pictures.tar", input));
  for (const auto layout : {TarIndex::Layout::pictures, TarIndex::Layout::tars_of_pictures}) {
    TarIndex::parse(input, tar, layout);
    try {
      check(tar, layout);
    } catch (const IoError&) {  // it may still be of the other layout
    }
  }
}

}  // namespace striate::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 != 0) striate::fuzz::set_right(data, size);
  return size;
}
