#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace striate::test {

/// How an array of an HDF5 file is stored.
struct Hdf5Storage {
  std::vector<uint64_t> chunk{};  ///< empty: contiguous
  int deflate = 0;                ///< level; 0: not deflated
  bool shuffle = false, fletcher32 = false, compact = false;
  bool lzf = false;                 ///< only named: what is written is taken for packed by it
  uint64_t written = ~uint64_t{0};  ///< of the first extent; the rest never is
};

enum class Hdf5Type { uint8, int8, int32, int64_big_endian, float32, text };

/// A new HDF5 file.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& file, bool newest_format = false);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  void bytes(const std::string& name, const std::vector<uint64_t>& extents, const std::vector<uint8_t>& values,
             const Hdf5Storage& storage = {}, Hdf5Type type = Hdf5Type::uint8);
  void integers(const std::string& name, const std::vector<uint64_t>& extents, const std::vector<int64_t>& values,
                Hdf5Type type = Hdf5Type::int32, const Hdf5Storage& storage = {});
  void group(const std::string& name);
  /// An array that is one of another file.
  void virtual_bytes(const std::string& name, const std::vector<uint64_t>& extents, const std::filesystem::path& source,
                     const std::string& source_name);
  /// An array whose bytes are those of another file.
  void external_bytes(const std::string& name, const std::vector<uint64_t>& extents,
                      const std::filesystem::path& source);

 private:
  int64_t make(const std::string& name, const std::vector<uint64_t>& extents, const Hdf5Storage& storage,
               Hdf5Type type);
  void write(int64_t array, const std::vector<uint64_t>& extents, const Hdf5Storage& storage, int64_t memory_type,
             const void* values);

  int64_t file_;
};

}  // namespace striate::test
