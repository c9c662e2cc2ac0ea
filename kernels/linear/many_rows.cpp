// A linear layer for a batch that fills the register tile. The weights, the largest operand, are read where they lie,
// once, and their gradient is written once; what is packed is the batch.
//   forward          yᵀ = w·xᵀ: x is packed as panels of nr rows of the batch. A task owns some rows of w and walks the
//                    depth in blocks, so that a block of every panel stays in the L2 cache.
//   backward_data    dx = dy·w: a task owns a strip of columns and walks w's rows in blocks. The first tile of rows of
//                    the batch packs each panel of w for the others and fetches the next block into the L2 cache.
//   backward_weight  dw = dyᵀ·x: a task owns a block of dw whose part of x fits into the L2 cache.
// Each value is one chain in ascending depth: the same bits however the work is cut.
#include "kernels/linear/many_rows.h"

#include <algorithm>
#include <type_traits>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/cache_size.h"
#include "kernels/gemm/micro.h"
#include "kernels/linear/tiles.h"

namespace striate::cpu {

namespace {

using gemm::ceil_div;
using gemm::MicroKernels;
using gemm::round_up;

/// m [rows, columns] → panels [rows/nr][columns][nr], transposed, by all threads; of bfloat16 in cells, of which
/// `columns` must be a multiple.
template <typename T>
void pack_batch(const T* m, int64_t rows, int64_t columns, const MicroKernels<T>& micro, float* to, Context& context) {
  constexpr int64_t kPiece = 1024;
  const int64_t panels = ceil_div(rows, micro.nr), pieces = ceil_div(columns, kPiece);
  context.threads->parallel_for(panels * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / pieces * micro.nr, c = i % pieces * kPiece;
      micro.pack_transposed(m + n * columns + c, columns, std::min(micro.nr, rows - n), std::min(kPiece, columns - c),
                            to + (n * columns + c * micro.nr) / micro.cell);
    }
  });
}

/// c [rows][nr] for rows [k0, k0 + rows) of w and batch rows [n0, n1) → y, with bias and activation.
template <typename T>
void finish_forward(const float* c, int64_t nr, int64_t k0, int64_t rows, int64_t n0, int64_t n1, const float* bias,
                    Activation activation, T* y, int64_t K) {
  const float slope = activation == Activation::leaky_relu ? kLeakySlope : 0.0f;
  for (int64_t n = n0; n < n1; ++n) {
    T* const to = y + n * K + k0;
    const float* const from = c + (n - n0);
    for (int64_t i = 0; i < rows; ++i) {
      float v = from[i * nr];
      if (bias) v += bias[k0 + i];
      if (activation != Activation::none && v < 0.0f) v = slope == 0.0f ? 0.0f : v * slope;  // −∞ · 0 would be NaN
      if constexpr (std::is_same_v<T, float>) {
        to[i] = v;
      } else {
        to[i] = to_bfloat16(v);
      }
    }
  }
}

}  // namespace

template <typename T>
bool takes_weights_in_place(const T* w, const LinearShape& shape) {
  if (std::is_same_v<T, float>) return true;
  const MicroKernels<T> micro = gemm::micro_kernels<T>();
  return micro.cell > 1 && shape.C % micro.cell == 0 && reinterpret_cast<uintptr_t>(w) % sizeof(float) == 0;
}

template <typename T>
void linear_forward_many_rows(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                              Activation activation, Context& context) {
  constexpr int64_t kDepth = 512, kMostRows = 512;
  const MicroKernels<T> micro = gemm::micro_kernels<T>();
  LinearTiles tiles = linear_tiles();
  if (micro.cell > 1) fill_cell_tiles(tiles);
  const auto* const cells = reinterpret_cast<const float*>(w);
  const int64_t depth = shape.C / micro.cell;
  const int64_t wanted = 4 * context.threads->size();  // tasks: a late thread costs a quarter of its share
  const int64_t nr = micro.nr, panels = ceil_div(shape.N, nr);
  // A block of the panels is to leave room in the L2 cache for the rows of w.
  const int64_t most_panels = std::max<int64_t>(1, gemm::second_level_cache() / 2 / (4 * nr * kDepth));
  const gemm::Parts rows(shape.K, tiles.in_place_rows,
                         std::clamp(round_up(ceil_div(shape.K, wanted), tiles.in_place_rows), tiles.in_place_rows,
                                    round_up(kMostRows, tiles.in_place_rows)));
  const gemm::Parts groups(panels, 1,
                           std::clamp<int64_t>(panels * rows.count / wanted, 1, std::min(panels, most_panels)));
  const int64_t packed = panels * nr * depth, scratch = round_up(rows.longest() * groups.longest() * nr, 16);
  float* const batch = context.workspace->get<float>(round_up(packed, 16) + context.threads->size() * scratch);
  pack_batch(x, shape.N, shape.C, micro, batch, context);
  gemm::for_each_item(rows.count * groups.count, batch + round_up(packed, 16), scratch, context,
                      [&](int64_t item, float* c) {
                        const int64_t k0 = rows.begin(item / groups.count), k1 = rows.end(item / groups.count);
                        const int64_t p0 = groups.begin(item % groups.count), p1 = groups.end(item % groups.count);
                        if (k0 == k1 || p0 == p1) return;
                        RowsInPlace block;
                        block.stride = depth;
                        block.rows = k1 - k0;
                        block.panels = p1 - p0;
                        block.panel_stride = nr * depth;
                        block.c = c;
                        for (int64_t d = 0; d < depth; d += kDepth) {
                          block.w = cells + k0 * depth + d;
                          block.run = std::min(kDepth, depth - d);
                          block.x = batch + (p0 * depth + d) * nr;
                          block.add = d > 0;
                          tiles.rows_in_place(block);
                        }
                        for (int64_t p = p0; p < p1; ++p) {
                          finish_forward(c + (p - p0) * block.rows * nr, nr, k0, block.rows, p * nr,
                                         std::min(shape.N, (p + 1) * nr), b, activation, y, shape.K);
                        }
                      });
}

void linear_backward_data_many_rows(const float* dy, const float* w, float* dx, const LinearShape& shape,
                                    Context& context) {
  constexpr int64_t kDepth = 128, kMostPanels = 8;  // a panel of w and one of dy, 16 KB each, stay in the L1 cache
  const MicroKernels<float> micro = gemm::micro_kernels<float>();
  const LinearTiles tiles = linear_tiles();
  const int64_t nr = micro.nr, wanted = 4 * context.threads->size();
  const int64_t strips = ceil_div(shape.C, nr);
  const gemm::Parts columns(shape.C, nr, std::clamp<int64_t>(strips / wanted, 1, kMostPanels) * nr);
  const int64_t batch_panels = ceil_div(shape.N, nr), packed = round_up(batch_panels * nr * shape.K, 16);
  const int64_t offsets_floats = round_up(2 * nr, 16), scratch = nr * kDepth + offsets_floats;
  float* const batch = context.workspace->get<float>(packed + context.threads->size() * scratch);
  pack_batch(dy, shape.N, shape.K, micro, batch, context);
  gemm::for_each_item(columns.count, batch + packed, scratch, context, [&](int64_t item, float* memory) {
    const int64_t c0 = columns.begin(item), c1 = columns.end(item);
    int64_t* const row_offsets = reinterpret_cast<int64_t*>(memory);
    float* const panel = memory + offsets_floats;
    for (int64_t i = 0; i < nr; ++i) row_offsets[i] = i * shape.C;
    for (int64_t k = 0; k < shape.K; k += kDepth) {
      const int64_t run = std::min(kDepth, shape.K - k);
      int64_t fetched = 0;  // lines of the next block
      const int64_t lines = (c1 - c0) / 16, next_rows = std::min(kDepth, shape.K - k - run);
      for (int64_t c = c0; c < c1; c += nr) {
        const int64_t width = std::min(nr, c1 - c);
        const float* const from = w + k * shape.C + c;
        bool is_packed = false;
        if (width < nr) {
          micro.pack_direct(from, shape.C, width, run, panel, 0);
          is_packed = true;
        }
        for (int64_t p = 0; p < batch_panels; ++p) {
          const int64_t n0 = p * nr, rows = std::min(nr, shape.N - n0), count = gemm::tile_count(rows, micro.mr);
          const float* const batch_block = batch + (p * shape.K + k) * nr;
          int64_t first = 0;
          if (!is_packed) {
            RowsPacked block;
            block.dy = batch_block;
            block.rows = first = gemm::tile_begin(1, count, rows);
            block.run = run;
            block.w = from;
            block.stride = shape.C;
            block.packed = panel;
            block.c = dx + n0 * shape.C + c;
            block.c_stride = shape.C;
            block.add = k > 0;
            if (lines > 0 && lines % 2 == 0 && fetched + 2 * run <= next_rows * lines) {
              block.ahead = w + (k + run + fetched / lines) * shape.C + c0;
              block.ahead_line = fetched % lines;
              block.ahead_lines = lines;
              fetched += 2 * run;
            }
            tiles.rows_packed(block);
            is_packed = true;
          }
          if (first == rows) continue;
          gemm::Block block;
          block.a = batch_block + first;
          block.a_stride = nr;
          block.run = run;
          block.b = panel;
          block.rows = rows - first;
          block.columns = width;
          block.c = dx + n0 * shape.C + c;
          block.c_rows = row_offsets + first;
          block.add = k > 0;
          micro.multiply_columns(block);
        }
      }
    }
  });
}

void linear_backward_weight_many_rows(const float* x, const float* dy, float* dw, const LinearShape& shape,
                                      Accumulate accumulate, const UpdateRule* rule,
                                      const ParameterUpdate<float>& update, Context& context) {
  constexpr int64_t kStreamBytes = 1 << 24;  // a dw that no cache would hold until it is read
  constexpr int64_t kMostTiles = 16;
  const MicroKernels<float> micro = gemm::micro_kernels<float>();
  const LinearTiles tiles = linear_tiles();
  const int64_t N = shape.N, C = shape.C, nr = micro.nr, wanted = 4 * context.threads->size();
  const int64_t panels = ceil_div(C, nr);
  // An update has the gradient, the weights and the optimizer's state of a row of tiles in the L2 cache too.
  const int64_t most_panels = std::max<int64_t>(
      1, rule == nullptr ? gemm::second_level_cache() / 2 / (4 * nr * N)
                         : std::min<int64_t>(gemm::second_level_cache() / 4 / (4 * nr * N), 1024 / nr));
  const gemm::Parts rows(shape.K, micro.mr, std::clamp<int64_t>(ceil_div(shape.K, wanted), 1, kMostTiles * micro.mr));
  const gemm::Parts columns(panels, 1, std::clamp<int64_t>(panels * rows.count / wanted, 1, most_panels));
  const int64_t x_floats = panels * nr * N, dy_floats = round_up(rows.longest() * N + nr, 16);
  const int64_t kept_stride = gemm::padded_stride(columns.longest() * nr);
  const int64_t scratch = dy_floats + (rule != nullptr ? micro.mr * kept_stride : 0);
  float* const packed_x = context.workspace->get<float>(x_floats + context.threads->size() * scratch);
  context.threads->parallel_for(panels, 4, [&](int64_t begin, int64_t end) {
    micro.pack_direct(x + begin * nr, C, std::min(C, end * nr) - begin * nr, N, packed_x + begin * nr * N, nr * N);
  });

  GradientUse use = accumulate == Accumulate::yes ? GradientUse::add : GradientUse::store;
  const bool whole = C % nr == 0 && reinterpret_cast<uintptr_t>(dw) % static_cast<uintptr_t>(tiles.vector_bytes) == 0;
  if (rule == nullptr && use == GradientUse::store && whole && 4 * shape.K * C >= kStreamBytes)
    use = GradientUse::stream;
  gemm::for_each_item(
      rows.count * columns.count, packed_x + x_floats, scratch, context, [&](int64_t item, float* packed_dy) {
        const int64_t k0 = rows.begin(item % rows.count), k1 = rows.end(item % rows.count);
        const int64_t p0 = columns.begin(item / rows.count), p1 = columns.end(item / rows.count);
        if (k0 == k1 || p0 == p1) return;
        micro.pack_columns(dy + k0, shape.K, N, k1 - k0, packed_dy);
        float* const kept = packed_dy + dy_floats;
        const int64_t width = std::min(C, p1 * nr) - p0 * nr, count = gemm::tile_count(k1 - k0, micro.mr);
        GradientTile tile;
        tile.run = N;
        tile.stride = rule != nullptr ? kept_stride : C;
        tile.use = use;
        for (int64_t t = 0; t < count; ++t) {
          const int64_t first = gemm::tile_begin(t, count, k1 - k0), at = (k0 + first) * C + p0 * nr;
          tile.rows = gemm::tile_begin(t + 1, count, k1 - k0) - first;
          tile.dy = packed_dy + first * N;
          ParameterUpdate<float> block;
          if (rule != nullptr) {
            block = {update.w + at,
                     nullptr,
                     update.s1 != nullptr ? update.s1 + at : nullptr,
                     update.s2 != nullptr ? update.s2 + at : nullptr,
                     width,
                     update.weight_decay,
                     update.rounded != nullptr ? update.rounded + at : nullptr};
            tile.fetch = &block;
            tile.fetch_stride = C;
            tile.fetch_lines = width / 16;
          }
          for (int64_t p = p0; p < p1; ++p) {
            tile.columns = std::min(nr, C - p * nr);
            tile.x = packed_x + p * nr * N;
            tile.dw = rule != nullptr ? kept + (p - p0) * nr : dw + at + (p - p0) * nr;
            tile.fetch_first = (p - p0) * tile.rows * nr / 16;
            tiles.gradient(tile);
          }
          if (rule != nullptr) tiles.update(*rule, block, tile.rows, C, kept, kept_stride);
        }
        if (use == GradientUse::stream) tiles.end_stream();
      });
}

template bool takes_weights_in_place(const float*, const LinearShape&);
template bool takes_weights_in_place(const bfloat16*, const LinearShape&);
template void linear_forward_many_rows(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                                       Context&);
template void linear_forward_many_rows(const bfloat16*, const bfloat16*, const float*, bfloat16*, const LinearShape&,
                                       Activation, Context&);

}  // namespace striate::cpu
