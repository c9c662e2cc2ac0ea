#pragma once

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/gpu/channels.h"
#include "kernels/gpu/index.h"
#include "kernels/gpu/shared.h"

// Passes over rows of channels and sums over rows, as the forward and the backward kernels of batch norm have them.

namespace striate::cuda::batch_norm {

constexpr int kSumThreads = 256;
constexpr int kBatch = 8;  // rows that a thread loads at once

// ---- how [rows, C] is cut ----

struct Slices {
  int rows, C;
  int rows_each;  // the last slice may have fewer
  unsigned count;
  unsigned chunks;  // blocks side by side along C
  dim3 threads;     // channels, rows; a power of two of rows

  dim3 blocks() const { return dim3(chunks * count); }
};

// A slice has `batches` batches a thread, or more where there would be more than `most` blocks.
inline Slices slices_of(const BatchNormShape& shape, int channels_a_thread, int batches, unsigned most) {
  Slices s;
  s.rows = gpu::index_32(shape.rows, "batch_norm: rows");
  s.C = gpu::index_32(shape.C, "batch_norm: channels");
  const auto [channel_threads, chunks] = gpu::channel_blocks(s.C, channels_a_thread);
  s.chunks = chunks;
  unsigned row_threads = 1;
  while (2 * row_threads * channel_threads <= kSumThreads && row_threads * kBatch < static_cast<unsigned>(s.rows)) {
    row_threads *= 2;
  }
  s.threads = dim3(channel_threads, row_threads);
  const int64_t slices = max(1u, most / chunks), least = static_cast<int64_t>(row_threads) * kBatch * batches;
  s.rows_each = static_cast<int>(max(least, (s.rows + slices - 1) / slices));
  s.count = static_cast<unsigned>((static_cast<int64_t>(s.rows) + s.rows_each - 1) / s.rows_each);
  return s;
}

// Enough blocks for several waves on the largest GPU; more would make merging their sums a pass of its own.
template <int kChannels>
Slices slices_to_sum(const BatchNormShape& shape) {
  return slices_of(shape, kChannels, 1, 2048);
}

// Slices of a pass without sums: the channels' coefficients are loaded once for 16 rows.
template <int kChannels>
Slices slices_to_map(const BatchNormShape& shape) {
  return slices_of(shape, kChannels, 2, 1u << 30);
}

// What a thread of a pass works on: `count` rows from `at` on, the offset of the first one's value, each `step` values
// further.
struct Column {
  int c;
  unsigned slice;
  int slice_rows;
  int64_t at, step;
  int count;
};

template <int kChannels>
__device__ __forceinline__ Column column_of(const Slices& s, unsigned block) {
  const unsigned slice = block / s.chunks;
  const int c = static_cast<int>(block % s.chunks * blockDim.x + threadIdx.x) * kChannels;
  const int64_t begin = static_cast<int64_t>(slice) * s.rows_each;
  const int rows = static_cast<int>(min(static_cast<int64_t>(s.rows_each), s.rows - begin));
  const int y = static_cast<int>(threadIdx.y), all = static_cast<int>(blockDim.y);
  const int count = c < s.C && y < rows ? (rows - y + all - 1) / all : 0;
  return {c, slice, rows, (begin + y) * s.C + c, static_cast<int64_t>(all) * s.C, count};
}

// The block that is as far from the grid's end as this one from its beginning.
__device__ __forceinline__ unsigned block_from_the_end() { return gridDim.x - 1 - blockIdx.x; }

// ---- partial results, and how they merge ----

// `parts` parts of `rows_each` rows, but for `missing` rows of the last one.
struct Parts {
  int parts, rows_each, missing;

  // Rows of the parts first, first + stride, ….
  __device__ float rows(int first, int stride) const {
    if (first >= parts) return 0.0f;
    const int64_t count = (parts - first + stride - 1) / stride;
    return static_cast<float>(count * rows_each - ((parts - 1 - first) % stride == 0 ? missing : 0));
  }
};

template <typename Partial>
__device__ __forceinline__ Partial no_rows() {
  Partial result;
  for (int i = 0; i < Partial::kFields; ++i) result.field(i) = gpu::Floats<Partial::kChannels>::all(0.0f);
  return result;
}

// Merges over the block's threads of one x, of which thread y has the parts y, y + blockDim.y, …; the result is
// thread 0's. All threads call it. A thread only writes its own place, so that a step needs one barrier.
template <int kBlockThreads, typename Partial>
__device__ __forceinline__ void merge_over_rows(Partial& mine, const Parts& parts) {
  constexpr int kChannels = Partial::kChannels;
  STRIATE_SHARED(gpu::Floats<kChannels>, places, [Partial::kFields][kBlockThreads]);
  const int y = static_cast<int>(threadIdx.y), width = static_cast<int>(blockDim.x);
  const int place = y * width + static_cast<int>(threadIdx.x);
  for (int stride = static_cast<int>(blockDim.y) / 2; stride > 0; stride /= 2) {
    if (y >= stride && y < 2 * stride) {
      for (int i = 0; i < Partial::kFields; ++i) mine.field(i).store(places[i][place].at);
    }
    __syncthreads();
    if (y < stride) {
      Partial other;
      for (int i = 0; i < Partial::kFields; ++i) {
        other.field(i) = gpu::Floats<kChannels>::load(places[i][place + stride * width].at);
      }
      mine.merge(other, parts.rows(y, 2 * stride), parts.rows(y + stride, 2 * stride));
    }
  }
}

// A slice's result goes to partials [fields, slices, C].
template <typename Partial>
__device__ __forceinline__ void store_partial(Partial& mine, float* partials, const Slices& s, const Column& column) {
  merge_over_rows<kSumThreads>(mine, Parts{column.slice_rows, 1, 0});
  if (threadIdx.y != 0 || column.c >= s.C) return;
  for (int i = 0; i < Partial::kFields; ++i) {
    mine.field(i).store(partials + (static_cast<int64_t>(i) * s.count + column.slice) * s.C + column.c);
  }
}

constexpr unsigned kMergeChannels = 32, kMergeRows = 32;

// The slices' results of one channel merged; thread 0 of y has it.
template <typename Partial>
__device__ __forceinline__ Partial merged_slices(const float* partials, const Slices& s, int c) {
  Partial mine = no_rows<Partial>();
  const int count = static_cast<int>(s.count), y = static_cast<int>(threadIdx.y), step = static_cast<int>(blockDim.y);
  const Parts parts = {count, s.rows_each, static_cast<int>(static_cast<int64_t>(count) * s.rows_each - s.rows)};
  float rows = 0.0f;
  for (int slice = c < s.C ? y : count; slice < count; slice += step) {
    Partial other;
    for (int i = 0; i < Partial::kFields; ++i) {
      other.field(i) = gpu::Floats<1>::load_constant(partials + (static_cast<int64_t>(i) * count + slice) * s.C + c);
    }
    const float other_rows = parts.rows(slice, count);
    if (slice == y) {
      mine = other;
    } else {
      mine.merge(other, rows, other_rows);
    }
    rows += other_rows;
  }
  merge_over_rows<kMergeChannels * kMergeRows>(mine, parts);
  return mine;
}

inline dim3 merge_blocks(const Slices& s) {
  return dim3((static_cast<unsigned>(s.C) + kMergeChannels - 1) / kMergeChannels);
}

inline dim3 merge_threads(const Slices& s) {
  unsigned rows = 1;
  while (rows < kMergeRows && rows < s.count) rows *= 2;
  return dim3(kMergeChannels, rows);
}

}  // namespace striate::cuda::batch_norm
