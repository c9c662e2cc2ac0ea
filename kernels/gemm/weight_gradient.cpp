// dw = dyᵀ·x, blocked for the caches. A task owns a block of dw (outputs × depth) and walks its rows (pixels) in
// blocks: packs dy's columns, gathers x as panels, and adds the product to its block of dw, which stays in L2. Where dw
// is too small to occupy the threads, the rows are split as well; the parts are summed in ascending order. The split
// depends on the shape alone.
#include <algorithm>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/micro.h"
#include "kernels/gemm/product.h"

namespace striate::gemm {

namespace {

constexpr int64_t kRowBlock = 256;    // pixels: a panel of x is 32 KB of the 48 KB of L1 (AVX-512)
constexpr int64_t kOutputTiles = 16;  // register tiles in a task's block of outputs: 224 KB of packed dy
constexpr int64_t kPanels = 8;        // panels of x in a task's block: 256 KB
constexpr int64_t kTasks = 32;        // tasks to cut the work into where dw alone gives fewer
constexpr int64_t kBiasRows = 512;    // rows summed in float before the parts are summed in double

/// db[k] (+)= Σ dy over the rows; `parts` holds ceil(rows / kBiasRows)·columns floats.
void bias_gradient(const WeightGradient& g, int64_t rows, float* parts, Context& context) {
  const int64_t columns = g.groups * g.columns, count = ceil_div(rows, kBiasRows);
  context.threads->run(count, [&](int64_t part) {
    float* sums = parts + part * columns;
    std::fill(sums, sums + columns, 0.0f);
    for (int64_t m = part * kBiasRows; m < std::min(rows, (part + 1) * kBiasRows); ++m) {
      const float* dy = g.dy + m * g.dy_stride;
      for (int64_t k = 0; k < columns; ++k) sums[k] += dy[k];
    }
  });
  for (int64_t k = 0; k < columns; ++k) {
    double sum = g.accumulate == Accumulate::yes ? double{g.db[k]} : 0.0;
    for (int64_t part = 0; part < count; ++part) sum += double{parts[part * columns + k]};
    g.db[k] = static_cast<float>(sum);
  }
}

void empty_batch(const WeightGradient& g) {
  if (g.accumulate == Accumulate::yes) return;
  std::fill(g.dw, g.dw + g.groups * g.columns * g.x.depth(), 0.0f);
  if (g.db) std::fill(g.db, g.db + g.groups * g.columns, 0.0f);
}

}  // namespace

void weight_gradient(const WeightGradient& g, Context& context) {
  const MicroKernels& micro = micro_kernels();
  const int64_t rows = g.x.rows(), depth = g.x.depth(), threads = context.threads->size();
  if (rows == 0) return empty_batch(g);

  const Parts output_parts(g.columns, 1, kOutputTiles * micro.mr);
  const Parts depth_parts(depth, micro.nr, kPanels * micro.nr);
  const int64_t blocks = g.groups * output_parts.count * depth_parts.count;
  const int64_t splits_wanted = std::min(ceil_div(kTasks, blocks), ceil_div(rows, 2 * kRowBlock));
  const Parts splits(rows, 1, ceil_div(rows, splits_wanted));
  const int64_t dw_size = g.groups * g.columns * depth;

  const int64_t row_block = std::min(kRowBlock, splits.longest());
  const int64_t dy_floats = round_up(output_parts.longest() * row_block, 16);
  const int64_t x_floats = round_up(depth_parts.longest(), micro.nr) * row_block;
  const int64_t offset_floats = round_up(2 * output_parts.longest(), 16);
  const int64_t scratch = round_up(dy_floats + x_floats + offset_floats, 16);
  const int64_t partial = splits.count > 1 ? round_up(splits.count * dw_size, 16) : 0;
  const int64_t bias = g.db ? round_up(ceil_div(rows, kBiasRows) * g.groups * g.columns, 16) : 0;
  float* const partials = context.workspace->get<float>(partial + bias + threads * scratch);

  const int64_t blocks_per_group = output_parts.count * depth_parts.count;
  for_each_item(blocks * splits.count, partials + partial + bias, scratch, context, [&](int64_t item, float* memory) {
    const int64_t split = item / blocks, group = item % blocks / blocks_per_group;
    const int64_t output_part = item % blocks_per_group / depth_parts.count, depth_part = item % depth_parts.count;
    const int64_t k0 = output_parts.begin(output_part), k1 = output_parts.end(output_part);
    const int64_t d0 = depth_parts.begin(depth_part), d1 = depth_parts.end(depth_part);
    int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
    float* const x = memory + offset_floats;
    float* const dy = x + x_floats;
    for (int64_t k = k0; k < k1; ++k) offsets[k - k0] = k * depth;
    Patches patches = g.x;
    patches.image += group * g.x_group;
    float* const dw =
        (splits.count > 1 ? partials + split * dw_size + group * g.columns * depth : g.dw + group * g.dw_group);

    Block block;
    block.a = dy;
    block.rows = k1 - k0;
    block.c_rows = offsets;
    const Parts row_blocks(splits.end(split) - splits.begin(split), 1, row_block);
    for (int64_t part = 0; part < row_blocks.count; ++part) {
      const int64_t m0 = splits.begin(split) + row_blocks.begin(part), m1 = splits.begin(split) + row_blocks.end(part);
      micro.pack_columns(g.dy + group * g.dy_group + m0 * g.dy_stride + k0, g.dy_stride, m1 - m0, k1 - k0, dy);
      micro.gather_panels(patches, m0, m1, d0, d1, x);
      block.run = m1 - m0;
      block.add = part > 0 || (splits.count == 1 && g.accumulate == Accumulate::yes);
      for (int64_t d = d0; d < d1; d += micro.nr) {
        block.b = x + (d - d0) * block.run;
        block.columns = std::min(micro.nr, d1 - d);
        block.c = dw + d;
        micro.multiply_columns(block);
      }
    }
  });

  if (splits.count > 1) {
    context.threads->parallel_for(dw_size, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float sum = g.accumulate == Accumulate::yes ? g.dw[i] : 0.0f;
        for (int64_t split = 0; split < splits.count; ++split) sum += partials[split * dw_size + i];
        g.dw[i] = sum;
      }
    });
  }
  if (g.db) bias_gradient(g, rows, partials + partial, context);
}

}  // namespace striate::gemm
