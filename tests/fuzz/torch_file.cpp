// A file of torch.save: a zip archive with a pickle and storages. Mutated entry by entry as a rule, with checksums and
// sizes set right again, since no mutation would come past them.
#include "models/weights/torch_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/fuzz/input.h"
#include "tests/models/weights/torch_archive.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace striate::fuzz {
namespace {

uint64_t little_endian(std::string_view bytes, size_t at, size_t count) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, count);
  return value;
}

/// The entries at the front of an archive, as far as they are whole and their sizes stand before them.
std::vector<test::ZipEntry> entries_of(std::string_view zip) {
  constexpr size_t kHeader = 30;
  std::vector<test::ZipEntry> entries;
  while (zip.size() >= kHeader && zip.starts_with("PK\x03\x04")) {
    const uint64_t packed = little_endian(zip, 18, 4), name = little_endian(zip, 26, 2),
                   extra = little_endian(zip, 28, 2);
    if (kHeader + name + extra + packed > zip.size()) break;
    test::ZipEntry entry{std::string(zip.substr(kHeader, name)),
                         std::string(zip.substr(kHeader + name + extra, packed))};
    const uint64_t size = little_endian(zip, 22, 4);
    entry.method = static_cast<uint16_t>(little_endian(zip, 8, 2));
    if (size != packed || entry.method != 0) entry.claimed_size = size;
    entries.push_back(std::move(entry));
    zip.remove_prefix(kHeader + name + extra + packed);
  }
  return entries;
}

}  // namespace

void read_input(std::string_view input) {
  static const Folder folder;
  const std::string path = folder.put("weights.pth", input);
  if (!models::is_torch_file(path)) return;
  const models::TorchFile file(path);
  const auto entries = file.entries();
  const auto tensors = file.read();
  expect(tensors.size() == entries.size(), "a tensor for every entry");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i].tensor;
    expect(
        tensors[i].name == entries[i].name && tensor.shape() == entries[i].shape && tensor.dtype() == entries[i].dtype,
        "tensors as the entries say");
  }
}

}  // namespace striate::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  constexpr size_t kLonger = 64;
  auto entries = striate::fuzz::entries_of({reinterpret_cast<const char*>(data), size});
  if (!entries.empty() && seed % 8 != 0) {
    std::string& bytes = entries[seed / 8 % entries.size()].bytes;
    const size_t before = bytes.size();
    bytes.resize(before + kLonger);
    bytes.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(bytes.data()), before, bytes.size()));
    const std::string zip = striate::test::zip_of(entries);
    if (zip.size() <= max_size) {
      std::copy(zip.begin(), zip.end(), data);
      return zip.size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
