// dw = dyᵀ·x for plain rows (linear layers): few rows, a large dw that is written once. A task owns a block of dw,
// packs dy's columns and x's panels, a block of rows at a time, and runs the register tile over them.
#include "kernels/gemm/weight_gradient.h"

#include <algorithm>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/micro.h"

namespace striate::gemm {

namespace {

constexpr int64_t kRowBlock = 256;            // cells: a panel of x is 32 KB of the 48 KB of L1 (AVX-512)
constexpr int64_t kOutputTiles = 16;          // register tiles in a task's block of outputs: 224 KB of packed dy
constexpr int64_t kPanels = 8;                // panels of x in a task's block: 256 KB
constexpr int64_t kStreamedFloats = 4 << 20;  // dw beyond this is out of the caches before it is used
constexpr int64_t kBiasRows = 256;            // rows summed in float before the parts are summed in double

}  // namespace

template <typename T>
int64_t bias_scratch(const WeightGradient<T>& g) {
  return g.db ? round_up(ceil_div(g.x.rows(), kBiasRows) * g.groups * g.columns, 16) : 0;
}

template <typename T>
void bias_gradient(const WeightGradient<T>& g, float* parts, Context& context) {
  const MicroKernels<T> micro = micro_kernels<T>();
  const int64_t rows = g.x.rows(), columns = g.groups * g.columns, count = ceil_div(rows, kBiasRows);
  context.threads->parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t m = part * kBiasRows;
      micro.sum_rows(g.dy + m * g.dy_stride, g.dy_stride, std::min(kBiasRows, rows - m), columns,
                     parts + part * columns);
    }
  });
  for (int64_t k = 0; k < columns; ++k) {
    double sum = g.accumulate == Accumulate::yes ? double{g.db[k]} : 0.0;
    for (int64_t part = 0; part < count; ++part) sum += double{parts[part * columns + k]};
    g.db[k] = static_cast<float>(sum);
  }
}

template <typename T>
void plain_weight_gradient(const WeightGradient<T>& g, Context& context) {
  const MicroKernels<T> micro = micro_kernels<T>();
  const int64_t rows = g.x.rows(), depth = g.x.depth();
  const Parts outputs(g.columns, 1, kOutputTiles * micro.mr);
  const Parts depths(depth, micro.nr, kPanels * micro.nr);
  const Parts row_blocks(rows, micro.cell, kRowBlock * micro.cell);
  const int64_t most_steps = ceil_div(row_blocks.longest(), micro.cell);

  const int64_t offset_floats = round_up(2 * outputs.longest(), 16);
  const int64_t x_floats = round_up(depths.longest(), micro.nr) * most_steps;
  const int64_t dy_floats = round_up(outputs.longest() * most_steps + micro.nr, 16);
  const int64_t scratch = round_up(offset_floats + x_floats, 16) + dy_floats, bias_floats = bias_scratch(g);
  float* const bias = context.workspace->get<float>(bias_floats + context.threads->size() * scratch);

  const bool stream = g.columns * depth > kStreamedFloats && g.accumulate == Accumulate::no && row_blocks.count == 1;
  for_each_item(outputs.count * depths.count, bias + bias_floats, scratch, context, [&](int64_t item, float* memory) {
    const int64_t k0 = outputs.begin(item / depths.count), k1 = outputs.end(item / depths.count);
    const int64_t d0 = depths.begin(item % depths.count), d1 = depths.end(item % depths.count);
    int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
    float* const x = memory + offset_floats;
    float* const dy = x + x_floats;
    for (int64_t k = k0; k < k1; ++k) offsets[k - k0] = k * depth;
    Block block;
    block.a = dy;
    block.rows = k1 - k0;
    block.stream = stream;
    block.c_rows = offsets;
    for (int64_t part = 0; part < row_blocks.count; ++part) {
      const int64_t m0 = row_blocks.begin(part), m1 = row_blocks.end(part), steps = ceil_div(m1 - m0, micro.cell);
      micro.pack_columns(g.dy + m0 * g.dy_stride + k0, g.dy_stride, m1 - m0, k1 - k0, dy);
      micro.pack_direct(g.x.image + m0 * g.x.pixel_stride + d0, g.x.pixel_stride, d1 - d0, m1 - m0, x,
                        steps * micro.nr);
      block.run = steps;
      block.add = part > 0 || g.accumulate == Accumulate::yes;
      for (int64_t d = d0; d < d1; d += micro.nr) {
        block.b = x + (d - d0) * block.run;
        block.columns = std::min(micro.nr, d1 - d);
        block.c = g.dw + d;
        micro.multiply_columns(block);
      }
    }
  });
  if (g.db) bias_gradient(g, bias, context);
}

template <typename T>
void weight_gradient(const WeightGradient<T>& g, Context& context) {
  if (g.x.rows() == 0) {
    if (g.accumulate == Accumulate::yes) return;
    std::fill(g.dw, g.dw + g.groups * g.columns * g.x.depth(), 0.0f);
    if (g.db) std::fill(g.db, g.db + g.groups * g.columns, 0.0f);
  } else if (g.x.is_plain() && g.groups == 1) {
    plain_weight_gradient(g, context);
  } else {
    pixel_weight_gradient(g, context);
  }
}

template int64_t bias_scratch(const WeightGradient<float>&);
template int64_t bias_scratch(const WeightGradient<bfloat16>&);
template void bias_gradient(const WeightGradient<float>&, float*, Context&);
template void bias_gradient(const WeightGradient<bfloat16>&, float*, Context&);
template void weight_gradient(const WeightGradient<float>&, Context&);
template void weight_gradient(const WeightGradient<bfloat16>&, Context&);

}  // namespace striate::gemm
