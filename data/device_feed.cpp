#include "data/device_feed.h"

#include <cstring>
#include <vector>

#include "engine/dispatch.h"
#include "engine/profiler.h"

namespace striate {
namespace {

constexpr int64_t kAlignment = 256;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

int64_t steps_begin(const ImageBatchShape& shape) {
  return aligned(shape.pictures() * static_cast<int64_t>(sizeof(ImagePlacement)));
}
int64_t pixels_begin(const ImageBatchShape& shape) {
  return steps_begin(shape) + aligned(shape.pictures() * shape.steps * static_cast<int64_t>(sizeof(LevelStep)));
}

/// A copy of host values on the device, and null as it is.
Tensor on_device(const float* values, int64_t count) {
  if (values == nullptr) return {};
  return Tensor::from(std::vector<float>(values, values + count), {count}, Device::cuda);
}

}  // namespace

PinnedBatch::PinnedBatch(const ImageBatchShape& shape)
    : shape_(shape),
      steps_at_(steps_begin(shape)),
      pixels_at_(pixels_begin(shape)),
      memory_(static_cast<uint8_t*>(gpu::allocate(
          static_cast<size_t>(pixels_at_ + shape.pictures() * shape.slot_size()), gpu::MemoryKind::pinned))) {}

std::span<LevelStep> PinnedBatch::steps(int64_t row) {
  return {reinterpret_cast<LevelStep*>(memory_ + steps_at_) + row * shape_.steps, static_cast<size_t>(shape_.steps)};
}

void PinnedBatch::put(int64_t row, const DevicePicture& picture) {
  placements()[row] = picture.placement;
  const Image& image = picture.image;
  const size_t slot_row = static_cast<size_t>(shape_.slot_w) * shape_.C;
  uint8_t* to = pixels(row);
  if (image.row_bytes() == slot_row) {
    std::memcpy(to, image.pixels.data(), image.pixels.size());
    return;
  }
  for (int y = 0; y < image.height; ++y) std::memcpy(to + y * slot_row, image.row(y), image.row_bytes());
}

void PinnedBatch::move(int64_t from_row, int64_t to_row) {
  placements()[to_row] = placements()[from_row];
  const auto from = steps(from_row), to = steps(to_row);
  std::copy(from.begin(), from.end(), to.begin());
  std::memcpy(pixels(to_row), pixels(from_row), static_cast<size_t>(shape_.slot_size()));
}

DeviceFeed::DeviceFeed(const ImageBatchShape& shape, const PixelNormalizer& normalizer, DType dtype)
    : shape_(shape),
      dtype_(dtype),
      scaling_(normalizer.scaling()),
      table_(on_device(scaling_.table, int64_t{shape.C} * 256)),
      offsets_(on_device(scaling_.offsets, int64_t{scaling_.offset_rows} * shape.W * shape.C)),
      steps_at_(steps_begin(shape)),
      pixels_at_(pixels_begin(shape)) {
  if (table_.defined()) scaling_.table = table_.data<float>();
  if (offsets_.defined()) scaling_.offsets = offsets_.data<float>();
  gpu::Stream& work = *context(Device::cuda).stream;
  for (Buffer& buffer : buffers_) {
    buffer.bytes = Tensor::empty({pixels_at_ + shape.pictures() * shape.slot_size()}, DType::uint8, Device::cuda);
    // The memory may still be read by work given to the device before.
    buffer.transformed.record(work);
  }
}

DeviceFeed::~DeviceFeed() {
  // The buffers' memory is free for other work then. What failed was reported where it was waited for.
  try {
    copies_.synchronize();
  } catch (...) {
  }
}

void DeviceFeed::send(int index, PinnedBatch& batch, int64_t rows, int64_t halo, const ImageMix& mix) {
  Buffer& buffer = buffers_[static_cast<size_t>(index)];
  buffer.rows = rows;
  buffer.halo = halo;
  buffer.mix = mix;
  copies_.wait(buffer.transformed);
  const auto bytes = static_cast<size_t>(pixels_at_ + (rows + halo) * shape_.slot_size());
  {
    const KernelTimer timer(TimedCopy{Device::cuda, "copy batch ahead", bytes, &copies_});
    gpu::copy(buffer.bytes.data<uint8_t>(), batch.memory_, bytes, copies_);
  }
  buffer.copied.record(copies_);
  batch.fetched_.record(copies_);
}

Tensor DeviceFeed::receive(int index) {
  Buffer& buffer = buffers_[static_cast<size_t>(index)];
  ImageBatchShape shape = shape_;
  shape.N = buffer.rows;
  shape.halo = buffer.halo;
  Tensor& images = buffer.rows == shape_.N ? images_ : fewer_images_;
  if (!images.defined() || images.dim(0) != buffer.rows) {
    images = Tensor::empty({buffer.rows, shape.H, shape.W, shape.C}, dtype_, Device::cuda);
  }
  Context& device = context(Device::cuda);
  device.stream->wait(buffer.copied);
  const uint8_t* bytes = buffer.bytes.data<uint8_t>();
  const ImageBatch batch{bytes + pixels_at_, reinterpret_cast<const ImagePlacement*>(bytes),
                         reinterpret_cast<const LevelStep*>(bytes + steps_at_), scaling_, buffer.mix};
  in_type_of(images, [&]<typename T>(T) {
    const ProfileScope profiled(Pass::load, "transform images");
    const KernelTimer timer(Device::cuda, "image_batch", images.data<T>(), shape);
    cuda::image_batch(batch, images.data<T>(), shape, device);
  });
  buffer.transformed.record(*device.stream);
  return images;
}

}  // namespace striate
