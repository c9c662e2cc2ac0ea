#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "data/load_transformed.h"
#include "data/pixel_normalizer.h"
#include "engine/tensor.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"
#include "kernels/image_batch/image_batch.h"

namespace striate {

/// Pictures of a batch on their way to a GPU, as kernels/image_batch takes them, in page-locked memory: placements,
/// steps and pixels one behind the other, so that one copy fetches them.
class PinnedBatch {
 public:
  explicit PinnedBatch(const ImageBatchShape& shape);
  ~PinnedBatch() { gpu::release(memory_, gpu::MemoryKind::pinned); }
  PinnedBatch(const PinnedBatch&) = delete;
  PinnedBatch& operator=(const PinnedBatch&) = delete;

  std::span<LevelStep> steps(int64_t row);
  void put(int64_t row, const DevicePicture& picture);
  void move(int64_t from_row, int64_t to_row);
  /// Waits until nothing fetches it any more. Any thread may.
  void wait_until_fetched() const { fetched_.synchronize(); }

 private:
  friend class DeviceFeed;
  uint8_t* pixels(int64_t row) { return memory_ + pixels_at_ + row * shape_.slot_size(); }
  ImagePlacement* placements() { return reinterpret_cast<ImagePlacement*>(memory_); }

  ImageBatchShape shape_;
  int64_t steps_at_, pixels_at_;
  uint8_t* memory_;
  gpu::Event fetched_;
};

/// Takes batches to the GPU and has them transformed there: the copies run in a stream of their own beside the device's
/// work, into one of two buffers while the other's pictures are transformed in the order of that work.
class DeviceFeed {
 public:
  static constexpr int kBuffers = 2;

  /// Of batches of `shape`, or fewer pictures and no halo, as images of float32 or bfloat16.
  DeviceFeed(const ImageBatchShape& shape, const PixelNormalizer& normalizer, DType dtype);
  ~DeviceFeed();
  DeviceFeed(const DeviceFeed&) = delete;
  DeviceFeed& operator=(const DeviceFeed&) = delete;

  /// Begins to copy the first `rows` pictures of a batch, and the halo behind them where it is 1, to a buffer whose
  /// last batch was received.
  void send(int buffer, PinnedBatch& batch, int64_t rows, int64_t halo, const ImageMix& mix);
  /// Has what was sent to a buffer transformed: images [rows, H, W, C] on the device, whose memory the next call uses
  /// again. Batches of equal size come in the same memory.
  Tensor receive(int buffer);

 private:
  struct Buffer {
    Tensor bytes;
    gpu::Event copied, transformed;
    int64_t rows = 0, halo = 0;
    ImageMix mix;
  };

  ImageBatchShape shape_;
  DType dtype_;
  PixelScaling scaling_;
  Tensor table_, offsets_;  // the scaling's, on the device
  int64_t steps_at_ = 0, pixels_at_ = 0;
  gpu::Stream copies_;
  std::array<Buffer, kBuffers> buffers_;
  Tensor images_, fewer_images_;
};

}  // namespace striate
