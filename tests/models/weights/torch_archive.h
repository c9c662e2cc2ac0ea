#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace striate::test {

/// An entry as a zip archive's headers claim it to be; `bytes` is what lies behind them.
struct ZipEntry {
  std::string name, bytes;
  uint64_t claimed_size = UINT64_MAX;  ///< UINT64_MAX: as many as there are
  uint16_t method = 0;                 ///< 0: stored, 8: deflated, kPpmd
};
std::string zip_of(const std::vector<ZipEntry>& entries);

constexpr uint16_t kPpmd = 98;
/// The beginning of a PPMd stream whose model asks for 256 MB of memory.
std::string wide_ppmd_stream();

/// Writes a pickle opcode by opcode, as torch.save does. Every call appends; the calls can be chained.
class PickleWriter {
 public:
  PickleWriter() : bytes_("\x80\x02") {}
  PickleWriter& raw(const std::string& opcodes) {
    bytes_ += opcodes;
    return *this;
  }
  PickleWriter& text(const std::string& value);
  PickleWriter& number(int64_t value);
  PickleWriter& numbers(const std::vector<int64_t>& values);  ///< a tuple
  PickleWriter& global(const std::string& module, const std::string& name) {
    return raw("c" + module + "\n" + name + "\n");
  }
  /// A tensor, without a name.
  PickleWriter& tensor(const std::string& type, const std::string& storage, int64_t elements, int64_t offset,
                       const std::vector<int64_t>& shape, const std::vector<int64_t>& strides);
  /// collections.OrderedDict(), empty, and a mark for the items to come; end_dict() takes them in.
  PickleWriter& begin_dict() { return global("collections", "OrderedDict").raw(")R("); }
  PickleWriter& end_dict() { return raw("u"); }
  std::string stop() const { return bytes_ + "."; }

 private:
  std::string bytes_;
};

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

void put_file(const std::filesystem::path& path, const std::string& bytes);

}  // namespace striate::test
