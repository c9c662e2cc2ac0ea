#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/datasets/hdf5/hdf5_driver.h"

namespace striate::hdf5 {

enum class Layout { contiguous, chunked, other };  ///< other: compact, virtual, or in files of their own
enum class Element { byte, integer, other };       ///< byte: an unsigned 8-bit integer

/// A file that is open for reading, here and in the library. All functions may be called from several threads.
class File {
 public:
  /// Throws IoError that names the file if it is missing, no HDF5 file or cut short.
  explicit File(std::string path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  uint64_t bytes() const { return bytes_; }
  Id id() const { return id_; }
  bool has(const std::string& name) const;
  /// What lies at the file's top, at most `most` of it.
  std::vector<std::string> names(size_t most) const;
  /// Throws IoError beginning with `where` if the file does not hold these bytes.
  void read(uint64_t offset, uint64_t bytes, uint8_t* out, const std::string& where) const;

 private:
  std::string path_;
  uint64_t bytes_ = 0;
  int descriptor_ = -1;
  Id id_ = -1;
};

/// A dataset of a file: an array of numbers. All functions may be called from several threads.
class Array {
 public:
  struct Filter {
    int id = 0;  ///< H5Z_filter_t
    std::vector<unsigned> values;
  };

  /// Throws IoError if the file has no readable array of that name.
  Array(std::shared_ptr<const File> file, const std::string& name);
  ~Array();
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  const File& file() const { return *file_; }
  std::string where() const { return file_->path() + ": " + name_; }
  const std::vector<uint64_t>& extents() const { return extents_; }
  std::string shape() const;  ///< "100×3×32×32"
  Element element() const { return element_; }
  const std::string& type() const { return type_; }  ///< in words
  Layout layout() const { return layout_; }
  const std::vector<uint64_t>& chunk() const { return chunk_; }  ///< extents, where chunked
  const std::vector<Filter>& filters() const { return filters_; }
  uint64_t stored_bytes() const;

  /// Where a contiguous array begins; nothing if it was never written.
  std::optional<uint64_t> offset() const;
  std::optional<Extent> chunk_extent(std::span<const uint64_t> place, uint64_t most) const;
  /// By the library: elements [first, first + count) along the first extent and all of the others. Throws IoError.
  void read_bytes(uint64_t first, uint64_t count, uint8_t* out) const;
  void read_integers(uint64_t first, uint64_t count, int64_t* out) const;

 private:
  void describe_type();
  void describe_storage();
  void read(uint64_t first, uint64_t count, Id memory_type, void* out) const;

  std::shared_ptr<const File> file_;
  std::string name_, type_;
  std::string missing_filter_;  // for messages; the library reads only the chunks that have not gone through it
  Id id_ = -1;
  std::vector<uint64_t> extents_, chunk_;
  Element element_ = Element::other;
  Layout layout_ = Layout::other;
  std::vector<Filter> filters_;
};

}  // namespace striate::hdf5
