// c = a·w, blocked for the caches. A task owns a block of rows of c and a range of its columns. It walks the depth in
// blocks: gathers its rows of a (L2), then runs the register tile along each packed panel of w (32 KB: L1 and L2).
// Many rows: w is packed once, up front, by all threads. Few rows (a linear layer, a small batch): each task packs the
// columns of w it owns just before use, so that w crosses the memory bus once.
#include "kernels/gemm/product.h"

#include <algorithm>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/micro.h"

namespace striate::gemm {

namespace {

constexpr int64_t kDepthBlock = 256;  // a panel of w is 32 KB of the 48 KB of L1 (AVX-512)
constexpr int64_t kRowTiles = 8;      // register tiles in a task's block of rows
constexpr int64_t kFewRows = 280;     // up to here one task holds all rows: 280 KB of gathered a
constexpr int64_t kPanelsPacked = 8;  // panels a task packs for itself at a time: 256 KB

/// Columns [n0, n1) and depth [d0, d1) of a group's weights → panels, each (d1 − d0)·nr floats.
void pack_weights(const Product& product, const MicroKernels& micro, int64_t group, int64_t n0, int64_t n1, int64_t d0,
                  int64_t d1, float* to) {
  const Weights& weights = product.w;
  const float* w = weights.w + group * product.w_group;
  const int64_t panel = (d1 - d0) * micro.nr;
  if (weights.depth_contiguous) {
    for (int64_t n = n0; n < n1; n += micro.nr, to += panel) {
      micro.pack_transposed(w + n * weights.stride + d0, weights.stride, std::min(micro.nr, n1 - n), d1 - d0, to);
    }
    return;
  }
  const int64_t channels = product.a.channels;
  for (int64_t d = d0; d < d1;) {
    const int64_t tap = d / channels, c = d % channels, n = std::min(channels - c, d1 - d);
    const float* from = w + tap / product.a.S * weights.tap_row_stride + tap % product.a.S * weights.tap_stride +
                        c * weights.stride + n0;
    micro.pack_direct(from, weights.stride, n1 - n0, n, to + (d - d0) * micro.nr, panel);
    d += n;
  }
}

/// The offsets in c of rows [m0, m1).
void fill_row_offsets(const Product& product, int64_t m0, int64_t m1, int64_t* to) {
  const int64_t P = product.a.P, Q = product.a.Q;
  int64_t q = m0 % Q, p = m0 / Q % P, n = m0 / Q / P;
  for (int64_t m = m0; m < m1; ++m) {
    *to++ = n * product.c_image_stride + p * product.c_row_stride + q * product.c_pixel_stride;
    if (++q == Q) {
      q = 0;
      if (++p == P) p = 0, ++n;
    }
  }
}

}  // namespace

void multiply(const Product& product, Context& context) {
  const MicroKernels& micro = micro_kernels();
  const int64_t rows = product.a.rows(), depth = product.a.depth(), threads = context.threads->size();
  if (rows == 0 || product.columns == 0) return;

  const bool few_rows = rows <= kFewRows;
  const Parts row_parts(rows, 1, few_rows ? kFewRows : kRowTiles * micro.mr);
  const Parts depth_parts(depth, 16, kDepthBlock);
  const int64_t panels = ceil_div(product.columns, micro.nr);
  // Enough tasks for every thread to find the next one while others finish.
  const int64_t wanted = ceil_div(4 * threads, row_parts.count * product.groups);
  const int64_t most_panels = std::clamp<int64_t>(panels / wanted, 1, few_rows ? kPanelsPacked : panels);
  const Parts column_parts(product.columns, micro.nr, most_panels * micro.nr);

  const int64_t a_stride = padded_stride(depth_parts.longest());
  const int64_t a_floats = row_parts.longest() * a_stride + micro.nr;  // gather_rows() may spill
  const int64_t offset_floats = round_up(2 * row_parts.longest(), 16);
  const int64_t own_panels = few_rows ? round_up(column_parts.longest(), micro.nr) * depth_parts.longest() : 0;
  const int64_t scratch = round_up(a_floats + offset_floats + own_panels, 16);
  const int64_t packed_group = few_rows ? 0 : panels * micro.nr * depth;
  const int64_t packed = round_up(product.groups * packed_group, 16);
  float* const packed_weights = context.workspace->get<float>(packed + threads * scratch);

  if (!few_rows) {
    const int64_t blocks = depth_parts.count * panels;
    context.threads->run(product.groups * blocks, [&](int64_t i) {
      const int64_t group = i / blocks, block = i % blocks / panels, panel = i % panels;
      const int64_t d0 = depth_parts.begin(block), d1 = depth_parts.end(block), n0 = panel * micro.nr;
      pack_weights(product, micro, group, n0, std::min(n0 + micro.nr, product.columns), d0, d1,
                   packed_weights + group * packed_group + panels * micro.nr * d0 + n0 * (d1 - d0));
    });
  }

  // Neighbouring tasks share their rows of a and walk through the columns.
  const int64_t tasks_per_group = row_parts.count * column_parts.count;
  for_each_item(
      product.groups * tasks_per_group, packed_weights + packed, scratch, context, [&](int64_t item, float* memory) {
        const int64_t group = item / tasks_per_group;
        const int64_t row_part = item % tasks_per_group / column_parts.count, column_part = item % column_parts.count;
        const int64_t m0 = row_parts.begin(row_part), m1 = row_parts.end(row_part);
        const int64_t n0 = column_parts.begin(column_part), n1 = column_parts.end(column_part);
        int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
        float* const a = memory + offset_floats;
        float* const own = a + round_up(a_floats, 16);
        fill_row_offsets(product, m0, m1, offsets);
        Patches patches = product.a;
        patches.image += group * product.a_group;

        Block block;
        block.a = a;
        block.a_stride = a_stride;
        block.rows = m1 - m0;
        block.c_rows = offsets;
        for (int64_t part = 0; part < depth_parts.count; ++part) {
          const int64_t d0 = depth_parts.begin(part), d1 = depth_parts.end(part);
          if (d1 > d0) micro.gather_rows(patches, m0, m1, d0, d1, a, a_stride);
          if (few_rows) pack_weights(product, micro, group, n0, n1, d0, d1, own);
          block.run = d1 - d0;
          block.add = part > 0;
          const bool last = part + 1 == depth_parts.count;
          block.activation = last ? product.activation : Activation::none;
          for (int64_t n = n0; n < n1; n += micro.nr) {
            block.b = few_rows ? own + (n - n0) * block.run
                               : packed_weights + group * packed_group + panels * micro.nr * d0 + n * block.run;
            block.columns = std::min(micro.nr, n1 - n);
            block.c = product.c + group * product.c_group + n;
            block.bias = last && product.bias ? product.bias + group * product.c_group + n : nullptr;
            micro.multiply_rows(block);
          }
        }
      });
}

}  // namespace striate::gemm
