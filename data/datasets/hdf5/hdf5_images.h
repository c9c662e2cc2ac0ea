#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "data/datasets/hdf5/hdf5_file.h"

namespace striate::hdf5 {

/// The images of an array N×…, each as its bytes lie in order. Contiguous and chunked storage, plain or deflated, is
/// read past the library, so that nothing waits for another thread but to learn where a chunk lies, once. Everything
/// else the library reads. All functions may be called from several threads.
class Images {
 public:
  /// Of an array of 3 or 4 extents of bytes. Throws IoError if the extents are absurd for a file of its size.
  explicit Images(std::unique_ptr<const Array> array);

  const Array& array() const { return *array_; }
  int64_t count() const { return count_; }
  uint64_t image_bytes() const { return image_bytes_; }
  /// How many consecutive images are unpacked together; 1 where each is read by itself.
  int64_t run_length() const { return run_length_; }
  /// How much is unpacked to read one image: a run, or the chunk where it reaches further; 0 where nothing is packed.
  uint64_t unpacked_bytes() const { return unpacked_bytes_; }
  /// Reads images [first, first + count): one, or a run (the last may be shorter). Throws IoError.
  void read(int64_t first, int64_t count, uint8_t* out) const;
  /// Where an image lies in the file in one piece, if it does.
  std::optional<uint64_t> place(int64_t index) const;

 private:
  enum class How { contiguous, plain_chunks, deflated_chunks, library };

  /// Where a chunk lies; nothing was asked yet while the offset is 0.
  struct Chunk {
    std::atomic<uint64_t> offset{0};
    uint32_t bytes = 0, skipped_filters = 0;
  };

  void check_extents() const;
  uint64_t chunk_bytes() const;
  void choose_how();
  bool use_chunks();
  /// Whether a chunk has whole images, and nothing else.
  bool is_whole() const { return std::equal(chunk_, chunk_ + 3, extents_); }
  void learn_chunks(uint64_t one) const;
  std::optional<Extent> find_chunk(uint64_t image, const uint64_t* inner) const;
  bool read_chunks(uint64_t first, uint64_t count, uint8_t* out) const;
  void read_chunk(const Extent& extent, uint64_t first, uint64_t count, const uint64_t* inner, uint8_t* out) const;
  void unpack(const Extent& extent, uint8_t* chunk) const;

  std::unique_ptr<const Array> array_;
  How how_ = How::library;
  int64_t count_ = 0, run_length_ = 1;
  uint64_t image_bytes_ = 0, unpacked_bytes_ = 0;
  uint64_t offset_ = 0;                       // of contiguous images
  uint64_t extents_[3] = {}, chunk_[3] = {};  // of an image, and of what a chunk has of it
  uint64_t chunk_images_ = 1, piece_bytes_ = 0;
  uint64_t chunk_count_ = 0;
  uint64_t grid_[3] = {};  // chunks that an image lies in
  int deflate_bit_ = -1;
  std::unique_ptr<Chunk[]> chunks_;
  mutable std::mutex learning_;  // guards what is written to chunks_
};

}  // namespace striate::hdf5
