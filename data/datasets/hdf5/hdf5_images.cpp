#include "data/datasets/hdf5/hdf5_images.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "kernels/error.h"

namespace striate::hdf5 {
namespace {

constexpr int kDeflate = 1, kShuffle = 2;  // H5Z_FILTER_DEFLATE, H5Z_FILTER_SHUFFLE
/// Deflate makes no more than 1032 bytes of one, see https://zlib.net/zlib_tech.html.
constexpr uint64_t kMostDeflated = 1032;
/// As many images may be declared whatever the file's size, for arrays that were never written.
constexpr uint64_t kAlwaysAllowed = uint64_t{1} << 20;
constexpr uint64_t kMostElsewhere = uint64_t{1} << 24;
constexpr uint64_t kMostImageBytes = uint64_t{1} << 30;
/// Chunks whose places are remembered, at 16 bytes each.
constexpr uint64_t kMostChunks = uint64_t{1} << 26;
constexpr uint64_t kLearnedTogether = 64;
constexpr uint64_t kNeverWritten = std::numeric_limits<uint64_t>::max();

uint64_t divide_up(uint64_t a, uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// A buffer a thread, for what lies between the file and the picture.
uint8_t* scratch(int which, uint64_t bytes) {
  thread_local std::vector<uint8_t> buffers[2];
  if (buffers[which].size() < bytes) buffers[which].resize(bytes);
  return buffers[which].data();
}

}  // namespace

Images::Images(std::unique_ptr<const Array> array) : array_(std::move(array)) {
  check_extents();
  const auto& extents = array_->extents();
  count_ = static_cast<int64_t>(extents[0]);
  image_bytes_ = 1;
  for (size_t i = 0; i < 3; ++i) {
    extents_[i] = i + 1 < extents.size() ? extents[i + 1] : 1;
    image_bytes_ *= extents_[i];
  }
  choose_how();
}

void Images::check_extents() const {
  const auto& extents = array_->extents();
  uint64_t bytes = 1;
  for (const uint64_t extent : extents) {
    require<IoError>(extent > 0, "{}: expected images, found {}, which holds none", array_->where(), array_->shape());
  }
  for (size_t i = 1; i < extents.size(); ++i) {
    require<IoError>(extents[i] <= kMostImageBytes / bytes, "{}: {}: an image of more than {} MiB is absurd",
                     array_->where(), array_->shape(), kMostImageBytes >> 20);
    bytes *= extents[i];
  }
  // Of what lies in other files (virtual, external) this one's size says nothing.
  const uint64_t holds =
      array_->layout() == Layout::other ? kMostElsewhere : array_->file().bytes() / bytes * kMostDeflated;
  require<IoError>(extents[0] <= std::max(kAlwaysAllowed, holds),
                   "{}: declares {} images, {}, but the file has {} bytes; fetch or write it again", array_->where(),
                   extents[0], array_->shape(), array_->file().bytes());
}

/// Of a whole chunk, which may reach beyond the images; the largest number where it has more.
uint64_t Images::chunk_bytes() const {
  uint64_t bytes = 1;
  for (const uint64_t side : array_->chunk()) {
    if (side > std::numeric_limits<uint64_t>::max() / bytes) return std::numeric_limits<uint64_t>::max();
    bytes *= side;
  }
  return bytes;
}

void Images::choose_how() {
  if (array_->layout() == Layout::contiguous) {
    const auto offset = array_->offset();
    if (!offset) return;  // never written
    how_ = How::contiguous;
    offset_ = *offset;
    const uint64_t bytes = array_->file().bytes(), images = static_cast<uint64_t>(count_);
    require<IoError>(
        offset_ <= bytes && images <= (bytes - offset_) / image_bytes_,
        "{}: its {} images of {} bytes from byte {} on reach behind the end of the file of {} bytes; it is "
        "cut short, fetch it again",
        array_->where(), images, image_bytes_, offset_, bytes);
  } else if (array_->layout() == Layout::chunked) {
    const bool is_filtered = !array_->filters().empty();
    chunk_images_ = std::min<uint64_t>(array_->chunk()[0], static_cast<uint64_t>(count_));
    if (is_filtered) {
      run_length_ = static_cast<int64_t>(chunk_images_);
      unpacked_bytes_ = std::max(chunk_images_ * image_bytes_, chunk_bytes());
    }
    if (use_chunks()) how_ = is_filtered ? How::deflated_chunks : How::plain_chunks;
  }
}

/// Whether the chunks are of a kind that is read here, and few enough to remember.
bool Images::use_chunks() {
  const auto& filters = array_->filters();
  for (size_t i = 0; i < filters.size(); ++i) {
    if (filters[i].id == kDeflate && deflate_bit_ < 0) {
      deflate_bit_ = static_cast<int>(i);
    } else if (filters[i].id != kShuffle || filters[i].values != std::vector<unsigned>{1}) {
      return false;  // to shuffle bytes of 1-byte values changes nothing
    }
  }
  chunk_images_ = array_->chunk()[0];
  piece_bytes_ = 1;
  uint64_t chunks = divide_up(static_cast<uint64_t>(count_), chunk_images_);
  for (size_t i = 0; i < 3; ++i) {
    chunk_[i] = i + 1 < array_->chunk().size() ? array_->chunk()[i + 1] : 1;
    if (chunk_[i] > kMostImageBytes / piece_bytes_) return false;
    piece_bytes_ *= chunk_[i];
    grid_[i] = divide_up(extents_[i], chunk_[i]);
    if (grid_[i] > kMostChunks / chunks) return false;
    chunks *= grid_[i];
  }
  // Every written chunk takes 8 bytes of index at least; of a file that has not got them most were never written.
  if (chunks > std::min(kMostChunks, array_->file().bytes() / 8)) return false;
  if (chunk_images_ > std::numeric_limits<uint32_t>::max() / piece_bytes_) return false;  // the format's limit
  chunks_ = std::make_unique<Chunk[]>(chunks);
  chunk_count_ = chunks;
  return true;
}

/// Asks where the chunks round one lie, which costs little more than to ask for one: the library has read that part of
/// the index then.
void Images::learn_chunks(uint64_t one) const {
  const uint64_t begin = one / kLearnedTogether * kLearnedTogether;
  const std::lock_guard lock(learning_);
  for (uint64_t index = begin; index < std::min(begin + kLearnedTogether, chunk_count_); ++index) {
    Chunk& chunk = chunks_[index];
    if (chunk.offset.load(std::memory_order_relaxed) != 0) continue;
    uint64_t place[4], rest = index;
    for (int i = 2; i >= 0; rest /= grid_[i--]) place[i + 1] = rest % grid_[i] * chunk_[i];
    place[0] = rest * chunk_images_;
    const auto found = array_->chunk_extent({place, array_->extents().size()}, array_->file().bytes());
    if (found) {
      chunk.bytes = static_cast<uint32_t>(found->bytes);
      chunk.skipped_filters = found->skipped_filters;
    }
    const bool is_known = found && found->bytes <= std::numeric_limits<uint32_t>::max();
    chunk.offset.store(is_known ? found->offset : kNeverWritten, std::memory_order_release);
  }
}

std::optional<Extent> Images::find_chunk(uint64_t image, const uint64_t* inner) const {
  const uint64_t row = image / chunk_images_;
  const uint64_t index = ((row * grid_[0] + inner[0]) * grid_[1] + inner[1]) * grid_[2] + inner[2];
  const Chunk& chunk = chunks_[index];
  if (chunk.offset.load(std::memory_order_acquire) == 0) learn_chunks(index);
  const uint64_t offset = chunk.offset.load(std::memory_order_acquire);
  if (offset == kNeverWritten) return std::nullopt;
  return Extent{offset, chunk.bytes, chunk.skipped_filters};
}

std::optional<uint64_t> Images::place(int64_t index) const {
  const auto image = static_cast<uint64_t>(index);
  if (how_ == How::contiguous) return offset_ + image * image_bytes_;
  if (how_ != How::plain_chunks || !is_whole()) return std::nullopt;
  const uint64_t inner[3] = {};
  const auto extent = find_chunk(image, inner);
  if (!extent || extent->bytes < chunk_images_ * image_bytes_) return std::nullopt;
  return extent->offset + image % chunk_images_ * image_bytes_;
}

void Images::unpack(const Extent& extent, uint8_t* chunk) const {
  const uint64_t bytes = chunk_images_ * piece_bytes_;
  if (deflate_bit_ < 0 || (extent.skipped_filters >> deflate_bit_ & 1) != 0) {
    require<IoError>(extent.bytes == bytes, "{}: the chunk at byte {} has {} bytes, expected {}", array_->where(),
                     extent.offset, extent.bytes, bytes);
    array_->file().read(extent.offset, bytes, chunk, array_->where());
    return;
  }
  uint8_t* packed = scratch(0, extent.bytes);
  array_->file().read(extent.offset, extent.bytes, packed, array_->where());
  uLongf made = bytes;
  const int status = uncompress(chunk, &made, packed, extent.bytes);
  if (status == Z_OK && made == bytes) return;
  const std::string found = status == Z_DATA_ERROR  ? "are no whole deflated stream"
                            : status == Z_BUF_ERROR ? "unpack to more"
                                                    : fmt::format("unpack to {}", made);
  throw IoError(fmt::format("{}: the chunk at byte {} is damaged: expected {} packed bytes that unpack to {}; they {}",
                            array_->where(), extent.offset, extent.bytes, bytes, found));
}

void Images::read_chunk(const Extent& extent, uint64_t first, uint64_t count, const uint64_t* inner,
                        uint8_t* out) const {
  const uint64_t skipped = first % chunk_images_ * piece_bytes_, wanted = count * piece_bytes_;
  const uint8_t* pieces = nullptr;
  if (how_ == How::plain_chunks) {
    require<IoError>(extent.bytes >= skipped + wanted, "{}: the chunk at byte {} has {} bytes, expected {}",
                     array_->where(), extent.offset, extent.bytes, chunk_images_ * piece_bytes_);
    uint8_t* to = is_whole() ? out : scratch(1, wanted);
    array_->file().read(extent.offset + skipped, wanted, to, array_->where());
    pieces = to;
  } else {
    const bool is_direct = is_whole() && count == chunk_images_;
    uint8_t* chunk = is_direct ? out : scratch(1, chunk_images_ * piece_bytes_);
    unpack(extent, chunk);
    if (is_whole() && !is_direct) std::memcpy(out, chunk + skipped, wanted);
    pieces = chunk + skipped;
  }
  if (is_whole()) return;
  uint64_t begin[3], sides[3];
  for (int i = 0; i < 3; ++i) {
    begin[i] = inner[i] * chunk_[i];
    sides[i] = std::min(chunk_[i], extents_[i] - begin[i]);  // at the edge a chunk reaches beyond the image
  }
  for (uint64_t image = 0; image < count; ++image, pieces += piece_bytes_, out += image_bytes_) {
    for (uint64_t a = 0; a < sides[0]; ++a) {
      for (uint64_t b = 0; b < sides[1]; ++b) {
        std::memcpy(out + ((begin[0] + a) * extents_[1] + begin[1] + b) * extents_[2] + begin[2],
                    pieces + (a * chunk_[1] + b) * chunk_[2], sides[2]);
      }
    }
  }
}

/// False if one of the chunks was never written.
bool Images::read_chunks(uint64_t first, uint64_t count, uint8_t* out) const {
  uint64_t inner[3];
  for (inner[0] = 0; inner[0] < grid_[0]; ++inner[0]) {
    for (inner[1] = 0; inner[1] < grid_[1]; ++inner[1]) {
      for (inner[2] = 0; inner[2] < grid_[2]; ++inner[2]) {
        const auto extent = find_chunk(first, inner);
        if (!extent) return false;
        read_chunk(*extent, first, count, inner, out);
      }
    }
  }
  return true;
}

void Images::read(int64_t first, int64_t count, uint8_t* out) const {
  const auto from = static_cast<uint64_t>(first), images = static_cast<uint64_t>(count);
  if (how_ == How::contiguous) {
    array_->file().read(offset_ + from * image_bytes_, images * image_bytes_, out, array_->where());
  } else if (how_ == How::library || !read_chunks(from, images, out)) {
    array_->read_bytes(from, images, out);
  }
}

}  // namespace striate::hdf5
