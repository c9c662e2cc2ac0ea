#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/datasets/packed/packed_format.h"
#include "data/image.h"

namespace striate {

/// Writes a packed file picture by picture, beside its place as `FILE.partial`, which stays when the writer goes before
/// finish(): the next writer of the same takes up after the last whole picture there. Errors are IoError with file and
/// reason; what was written stays then too.
class PackedWriter {
 public:
  struct Contents {
    PackedMetadata metadata;
    int channels = 3;
    std::array<int64_t, 4> pictures{};  ///< of the source's parts, as kPackedParts has them
  };

  /// Begins, or goes on with FILE.partial. Throws ConfigError where that is of other contents, naming what differs;
  /// IoError where it is no packed file, or another process writes it.
  PackedWriter(std::string file, const Contents& contents);
  /// Before anything is read: throws IoError where a file cannot be made there.
  static void check_place(const std::string& file);
  ~PackedWriter();
  PackedWriter(const PackedWriter&) = delete;
  PackedWriter& operator=(const PackedWriter&) = delete;

  /// The source's picture, counted through its parts, that comes next.
  int64_t next() const { return next_; }
  /// Pictures in the file, and source's pictures before next() that were left out.
  int64_t pictures() const { return static_cast<int64_t>(entries_.size()); }
  int64_t left_out() const { return next_ - pictures(); }
  uint64_t bytes() const { return end_; }
  /// What the source's other pictures will add to the file if they are as those so far.
  uint64_t bytes_to_come() const;

  /// Adds picture next(). `checksum` is crc32c() of its pixels, which several threads compute in advance.
  void append(const Image& image, int label, uint32_t checksum);
  /// Leaves out picture next().
  void skip() { ++next_; }
  /// Completes the file, waits until it is on disk, and puts it in place of what stands there.
  void finish();

 private:
  void begin();
  void go_on();
  uint64_t whole_entries(uint64_t bytes_in_file);
  bool has_its_pixels(const PackedEntry& entry);
  void write(uint64_t offset, const void* bytes, size_t count);
  void read(uint64_t offset, void* bytes, size_t count) const;
  void sync() const;
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_, partial_;
  std::array<int64_t, 4> source_pictures_;
  PackedHeader header_;
  std::string metadata_;
  std::vector<PackedEntry> entries_;
  int64_t next_ = 0;
  uint64_t end_ = 0;       // of the pixels written
  uint64_t unsynced_ = 0;  // bytes of pixels since the last sync()
  int descriptor_ = -1;
};

}  // namespace striate
