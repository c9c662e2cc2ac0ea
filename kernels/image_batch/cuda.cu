// Pictures from 8 bits to what the network sees, bound by memory: a byte read and a float or bfloat16 written for every
// value, and where pictures are mixed a byte more.
// A block takes tiles of neighbouring pixels of one picture. Its bytes go to shared memory in the order of the output,
// so that the window's offset and the mirroring end there; a thread takes whole pixels through the steps; then values
// are scaled and stored four at a time. A contrast step needs the picture's mean luminance: a launch before sums it by
// tiles, as integers, and every block adds up those of its picture. Deterministic.
#include <type_traits>

#include "kernels/gemm/fast_division.h"
#include "kernels/gpu/block.h"
#include "kernels/gpu/convert.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/vector.h"
#include "kernels/image_batch/image_batch.h"
#include "kernels/image_batch/levels.h"

namespace striate::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kTilePixels = 1024;

struct Grid {
  int64_t pictures;
  int H, W, slot_w, steps;
  int64_t slot_size, image_size;
  int tiles;          // of a picture
  int64_t all_tiles;  // of those that a launch is about: all pictures, or without the halo
  tile::FastDivision width;
};

/// Pixels [first, first + count) of picture `image`.
struct Tile {
  int64_t image;
  int index, first, count;
};

__device__ __forceinline__ Tile tile_at(const Grid& g, int64_t number) {
  const int64_t image = number / g.tiles;
  const int index = static_cast<int>(number - image * g.tiles), first = index * kTilePixels;
  return {image, index, first, min(kTilePixels, g.H * g.W - first)};
}

template <int kChannels>
__device__ __forceinline__ void load_tile(const ImageBatch& batch, const Grid& g, const Tile& tile, uint8_t* levels) {
  const ImagePlacement place = batch.placements[tile.image];
  const uint8_t* slot = batch.pixels + tile.image * g.slot_size;
  for (int i = static_cast<int>(threadIdx.x); i < tile.count * kChannels; i += kThreads) {
    const int pixel = i / kChannels, c = i - pixel * kChannels;
    int x;
    const int y = g.width.divide(tile.first + pixel, x);
    const int row = place.top + y, column = place.left + (place.mirrored != 0 ? g.W - 1 - x : x);
    const bool inside = row >= 0 && row < place.rows && column >= 0 && column < place.columns;
    levels[i] = inside ? __ldg(slot + (row * g.slot_w + column) * kChannels + c) : static_cast<uint8_t>(0);
  }
}

/// The thread's pixels of a tile through the first `count` of the picture's steps. `see` gets the levels after them.
template <int kChannels, typename See>
__device__ __forceinline__ void through_steps(const ImageBatch& batch, const Grid& g, const Tile& tile, int count,
                                              int mean, const uint8_t* levels, See see) {
  const LevelStep* steps = batch.steps + tile.image * g.steps;
  for (int p = static_cast<int>(threadIdx.x); p < tile.count; p += kThreads) {
    levels::Pixel<kChannels> pixel;
    STRIATE_UNROLL
    for (int c = 0; c < kChannels; ++c) pixel.at[c] = levels[p * kChannels + c];
    int x;
    const int y = g.width.divide(tile.first + p, x);
    for (int i = 0; i < count; ++i) pixel = levels::apply(steps[i], pixel, y, x, mean);
    see(p, pixel);
  }
}

/// How many steps come before the picture's contrast step; −1 where it has none.
__device__ __forceinline__ int steps_before_contrast(const ImageBatch& batch, const Grid& g, int64_t image) {
  const int count = batch.placements[image].steps;
  for (int i = 0; i < count; ++i) {
    if (batch.steps[image * g.steps + i].kind == LevelStepKind::contrast) return i;
  }
  return -1;
}

/// sums [pictures, tiles]: luminances as the steps before the contrast leave them; unwritten where there is no
/// contrast.
template <int kChannels>
__global__ void __launch_bounds__(kThreads, 4)
    luminance_kernel(const __grid_constant__ ImageBatch batch, const __grid_constant__ Grid g, int* sums) {
  STRIATE_SHARED(uint8_t, levels, [kTilePixels * kChannels]);
  for (int64_t number = blockIdx.x; number < g.all_tiles; number += gridDim.x) {
    const Tile tile = tile_at(g, number);
    const int before = steps_before_contrast(batch, g, tile.image);
    if (before < 0) continue;
    __syncthreads();  // the tile before is read no more
    load_tile<kChannels>(batch, g, tile, levels);
    __syncthreads();
    int sum = 0;
    through_steps<kChannels>(batch, g, tile, before, 0, levels,
                             [&](int, const auto& pixel) { sum += levels::luminance(pixel); });
    sum = gpu::block_sum(sum);
    if (threadIdx.x == 0) sums[number] = sum;
  }
}

/// The tile's levels after all steps. `sums` is null where no picture may have a contrast step.
template <int kChannels>
__device__ __forceinline__ void make_levels(const ImageBatch& batch, const Grid& g, const Tile& tile, const int* sums,
                                            uint8_t* levels) {
  load_tile<kChannels>(batch, g, tile, levels);
  __syncthreads();
  const int count = batch.placements[tile.image].steps;
  if (count == 0) return;
  int mean = 0;
  if (sums != nullptr && steps_before_contrast(batch, g, tile.image) >= 0) {
    double sum = 0.0;  // of integers: exact
    for (int i = static_cast<int>(threadIdx.x); i < g.tiles; i += kThreads) sum += sums[tile.image * g.tiles + i];
    mean = levels::mean_level(gpu::block_sum(sum), int64_t{g.H} * g.W);
  }
  through_steps<kChannels>(batch, g, tile, count, mean, levels, [&](int p, const auto& pixel) {
    STRIATE_UNROLL
    for (int c = 0; c < kChannels; ++c) levels[p * kChannels + c] = static_cast<uint8_t>(pixel.at[c]);
  });
  __syncthreads();
}

template <typename T>
__device__ __forceinline__ void store_four(T* y, const float (&values)[4]) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    gpu::store_8(y, make_uint2(gpu::to_bf16x2(values[1], values[0]), gpu::to_bf16x2(values[3], values[2])));
  } else {
    gpu::store_16(y, make_float4(values[0], values[1], values[2], values[3]));
  }
}

template <typename T, int kChannels>
__global__ void __launch_bounds__(kThreads, 4) image_batch_kernel(const __grid_constant__ ImageBatch batch, T* y,
                                                                  const __grid_constant__ Grid g, const int* sums) {
  STRIATE_SHARED(uint8_t, own, [kTilePixels * kChannels]);
  STRIATE_SHARED(uint8_t, partner, [kTilePixels * kChannels]);
  const bool mixes = batch.mix.kind != ImageMix::Kind::none;
  for (int64_t number = blockIdx.x; number < g.all_tiles; number += gridDim.x) {
    const Tile tile = tile_at(g, number);
    __syncthreads();  // the tile before is read no more
    make_levels<kChannels>(batch, g, tile, sums, own);
    if (mixes) {
      const Tile other{tile.image == 0 ? g.pictures - 1 : tile.image - 1, tile.index, tile.first, tile.count};
      make_levels<kChannels>(batch, g, other, sums, partner);
    }
    const auto value = [&](int i) {
      const int pixel = i / kChannels, c = i - pixel * kChannels;
      int column = 0, row = 0;
      if (mixes || batch.scaling.offsets != nullptr) row = g.width.divide(tile.first + pixel, column);
      const auto scaled = [&](int level) {
        return levels::scaled(batch.scaling, level, row, column, c, g.W, kChannels);
      };
      if (batch.mix.kind == ImageMix::Kind::blend) {
        return levels::mixed(batch.mix, scaled(own[i]), scaled(partner[i]));
      }
      return scaled(mixes && levels::is_cut(batch.mix, row, column) ? partner[i] : own[i]);
    };
    // Fours as memory has them; what is left before and behind them one by one.
    T* const to = y + tile.image * g.image_size + int64_t{tile.first} * kChannels;
    const int values = tile.count * kChannels;
    const int head = min(static_cast<int>(-(reinterpret_cast<uintptr_t>(to) / sizeof(T)) & 3), values);
    const int fours = (values - head) / 4, tail = head + 4 * fours;
    for (int four = static_cast<int>(threadIdx.x); four < fours; four += kThreads) {
      const int i = head + 4 * four;
      const float run[4] = {value(i), value(i + 1), value(i + 2), value(i + 3)};
      store_four(to + i, run);
    }
    const int single = static_cast<int>(threadIdx.x) < head ? static_cast<int>(threadIdx.x)
                                                            : tail + static_cast<int>(threadIdx.x) - head;
    if (single < head || (single >= tail && single < values)) to[single] = levels::rounded<T>(value(single));
  }
}

template <typename T, int kChannels>
void transform(const ImageBatch& batch, T* y, const ImageBatchShape& s, Context& context) {
  Grid g{s.pictures(), s.H, s.W, s.slot_w, s.steps, s.slot_size(), s.image_size(), 0, 0, tile::FastDivision(s.W)};
  g.tiles = (s.H * s.W + kTilePixels - 1) / kTilePixels;
  const int64_t wave = int64_t{8} * gpu::properties().multiprocessors;
  const auto blocks = [&] { return static_cast<unsigned>(g.all_tiles < wave ? g.all_tiles : wave); };
  int* sums = nullptr;
  if (s.has_contrast) {
    g.all_tiles = s.pictures() * g.tiles;
    sums = context.workspace->get<int>(g.all_tiles);
    gpu::launch(luminance_kernel<kChannels>, blocks(), kThreads, 0, *context.stream, batch, g, sums);
  }
  g.all_tiles = s.N * g.tiles;
  gpu::launch(image_batch_kernel<T, kChannels>, blocks(), kThreads, 0, *context.stream, batch, y, g, sums);
}

}  // namespace

template <typename T>
void image_batch(const ImageBatch& batch, T* y, const ImageBatchShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  shape.C == 1 ? transform<T, 1>(batch, y, shape, context) : transform<T, 3>(batch, y, shape, context);
}

template void image_batch(const ImageBatch&, float*, const ImageBatchShape&, Context&);
template void image_batch(const ImageBatch&, bfloat16*, const ImageBatchShape&, Context&);

}  // namespace striate::cuda
