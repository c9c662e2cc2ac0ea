// dw = Gᵀ[Σ_tiles (A dy Aᵀ) ⊙ (Bᵀ x B)]G, the transpose of the forward map. A chunk of tiles at a time, as many as the
// last cache holds: all threads transform the tiles of x and dy, then multiply, each thread some of the points, and add
// to the sums of every point; at the end these are transformed to dw. All cuts depend on the shape alone.
#include "kernels/simd_targets.h"

#include <hwy/cache_control.h>

#include <algorithm>

#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d/winograd_tiles.h"
#include "kernels/conv2d/winograd_transforms.h"
#include "kernels/error.h"
#include "kernels/gemm/micro.h"

namespace striate::cpu::winograd {

namespace {

using gemm::ceil_div;
using gemm::Parts;
using gemm::round_up;

constexpr int64_t kTransformedTogether = 8;  // tiles in a task of the transforms
constexpr int64_t kDepth = 128;              // tiles summed in a register: a panel of x is 16 KB of the 48 KB of L1

/// Tiles in a chunk: transformed they are half of the sums, which every chunk reads and writes once, so that with these
/// they stay in the last cache; or 128 KB a point.
int64_t chunk_tiles(int64_t tile_floats, int64_t sum_floats) {
  return ceil_div(std::max<int64_t>(sum_floats / 2, 1 << 15), tile_floats);
}

void prefetch(const float* sums, int64_t stride, int64_t rows, int64_t columns) {
  for (int64_t k = 0; k < rows; ++k, sums += stride) {
    for (int64_t c = 0; c < columns; c += 16) hwy::Prefetch(sums + c);
  }
}

/// sums[k·sum_stride + c] (+)= Σ_t dy[t·dy_stride + k]·x[t·nr + c]. While a register tile is summed, the sums of the
/// next one are fetched from the last cache: a quarter of the time.
void add_products(const gemm::MicroKernels<float>& micro, gemm::Block block, const float* dy, int64_t K, float* sums,
                  int64_t sum_stride, const int64_t* offsets) {
  const int64_t tiles = gemm::tile_count(K, micro.mr);
  block.c = sums;
  block.columns = micro.nr;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t k0 = gemm::tile_begin(tile, tiles, K), k1 = gemm::tile_begin(tile + 1, tiles, K);
    if (k1 < K) {
      prefetch(sums + k1 * sum_stride, sum_stride, gemm::tile_begin(tile + 2, tiles, K) - k1, micro.nr);
    } else {
      prefetch(sums + micro.nr, sum_stride, gemm::tile_begin(1, tiles, K), micro.nr);
    }
    block.a = dy + k0;
    block.rows = k1 - k0;
    block.c_rows = offsets + k0;
    micro.multiply_columns(block);
  }
}

}  // namespace

template <typename T>
void backward_weight(const T* x, const T* dy, Parameter<T>* dw, const Conv2dShape& s, Accumulate accumulate,
                     Context& context) {
  require<ShapeError>(fits(s) && s.N > 0, "{}: not a convolution that Winograd's algorithm takes; use the direct sums",
                      s.to_string());
  const gemm::MicroKernels<float> micro = gemm::micro_kernels<float>();
  const Transforms<T> f = transforms<T>(s.R);
  const Tiling tiling(s);
  const int64_t points = f.n * f.n, panels = ceil_div(s.C, micro.nr), threads = context.threads->size();
  const int64_t dy_stride = gemm::padded_stride(s.K), sum_stride = panels * micro.nr;
  const Parts chunks(tiling.count(), 1, chunk_tiles(dy_stride + sum_stride, s.K * sum_stride));

  const int64_t longest = chunks.longest();
  const int64_t dy_point = gemm::padded_stride(longest * dy_stride), x_panel = longest * micro.nr;
  const int64_t x_point = gemm::padded_stride(panels * x_panel);
  const int64_t sum_point = gemm::padded_stride(s.K * sum_stride);
  const int64_t zero_floats = round_up(std::max(s.C, s.K), 16), offset_floats = round_up(2 * s.K, 16);
  float* const memory =
      context.workspace->get<float>(zero_floats + offset_floats + points * (dy_point + x_point + sum_point));
  T* const zeros = reinterpret_cast<T*>(memory);
  int64_t* const offsets = reinterpret_cast<int64_t*>(memory + zero_floats);
  float* const dys = memory + zero_floats + offset_floats;
  float* const xs = dys + points * dy_point;
  float* const sums = xs + points * x_point;
  std::fill(zeros, zeros + zero_floats, T{});
  for (int64_t k = 0; k < s.K; ++k) offsets[k] = k * sum_stride;

  const Parts parts(panels, 1, std::max<int64_t>(1, panels * points / (4 * threads)));
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const int64_t t0 = chunks.begin(chunk), tiles = chunks.end(chunk) - t0;
    context.threads->run(ceil_div(tiles, kTransformedTogether), [&](int64_t task) {
      const int64_t end = std::min(tiles, (task + 1) * kTransformedTogether);
      for (int64_t t = task * kTransformedTogether; t < end; ++t) {
        const T* pixels[kLargestTile * kLargestTile];
        tiling.inputs(t0 + t, f.n, x, s.C, zeros, pixels);
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t c = panel * micro.nr;
          f.input(pixels, c, std::min(micro.nr, s.C - c), xs + panel * x_panel + t * micro.nr, x_point);
        }
        tiling.results(t0 + t, dy, s.K, zeros, pixels);
        f.gradient(pixels, s.K, dys + t * dy_stride, dy_point);
      }
    });
    context.threads->run(points * parts.count, [&](int64_t task) {
      const int64_t point = task / parts.count;
      gemm::Block block;
      block.a_stride = dy_stride;
      for (int64_t t = 0; t < tiles; t += kDepth) {
        block.run = std::min(kDepth, tiles - t);
        block.add = chunk > 0 || t > 0;
        for (int64_t panel = parts.begin(task % parts.count); panel < parts.end(task % parts.count); ++panel) {
          block.b = xs + point * x_point + panel * x_panel + t * micro.nr;
          add_products(micro, block, dys + point * dy_point + t * dy_stride, s.K,
                       sums + point * sum_point + panel * micro.nr, sum_stride, offsets);
        }
      }
    });
  }
  context.threads->parallel_for(s.K, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      f.weight_gradient(sums + k * sum_stride, sum_point, s.C, accumulate == Accumulate::yes, dw + k * s.taps(), s.C);
    }
  });
}

template void backward_weight<float>(const float*, const float*, float*, const Conv2dShape&, Accumulate, Context&);
template void backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, const Conv2dShape&, Accumulate,
                                        Context&);

}  // namespace striate::cpu::winograd
