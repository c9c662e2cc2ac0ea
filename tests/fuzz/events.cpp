// TensorBoard's event files, by the reader that the tests have: the product writes them and reads none. Records are
// mutated with their checksums set right again as a rule, since no mutation would come past those.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/fuzz/input.h"
#include "tests/support/event_reader.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace striate::fuzz {
namespace {

/// The data of the records at the front of a file, as far as they are whole.
std::vector<std::string> records_of(std::string_view file) {
  constexpr size_t kBefore = 12, kBehind = 4;
  std::vector<std::string> records;
  while (file.size() >= kBefore + kBehind) {
    uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    if (length > file.size() - kBefore - kBehind) break;
    records.emplace_back(file.substr(kBefore, length));
    file.remove_prefix(kBefore + length + kBehind);
  }
  return records;
}

}  // namespace

void read_input(std::string_view input) {
  static const Folder folder;
  const auto events = test::read_events(folder.put("events.out.tfevents.1", input));
  expect(events.size() <= input.size() / 16, "sixteen bytes at least for every event");
}

}  // namespace striate::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  constexpr size_t kLonger = 32;
  auto records = striate::fuzz::records_of({reinterpret_cast<const char*>(data), size});
  if (!records.empty() && seed % 8 != 0) {
    std::string& bytes = records[seed / 8 % records.size()];
    const size_t before = bytes.size();
    bytes.resize(before + kLonger);
    bytes.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(bytes.data()), before, bytes.size()));
    std::string file;
    for (const std::string& record : records) file += striate::test::event_record(record);
    if (file.size() <= max_size) {
      std::copy(file.begin(), file.end(), data);
      return file.size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
