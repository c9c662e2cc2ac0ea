// dw = dyᵀ·x for images of few channels (a first layer). As pixel_gradient.cpp, but the register tile holds up to 14 of
// a whole row of taps (s, c), which lie side by side in the image and are read in place, at one pixel a step, from a
// padded copy of the rows in hand. Images of few pixels are gathered instead, so that a step of the walk, which adds to
// dw in L2, is long enough. A task owns a block of dwᵀ and a share of the pixels; the shares are summed in ascending
// order. All cuts depend on the shape alone.
#include <algorithm>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/gradient_shares.h"
#include "kernels/gemm/micro.h"
#include "kernels/gemm/prefetch.h"
#include "kernels/gemm/weight_gradient.h"

namespace striate::gemm {

namespace {

constexpr int64_t kPixels = 256;        // a step of the walk: a panel of dy is 32 KB of the 48 KB of L1 (AVX-512)
constexpr int64_t kFewestPixels = 128;  // of an image that is read in place
// A task's block of dwᵀ: 320 KB. Deep where x is read in place, as its window is copied for every block of depth; wide
// where x is gathered, for every block of outputs.
constexpr int64_t kDepthInPlace = 640, kOutputsInPlace = 128;
constexpr int64_t kDepthGathered = 320, kOutputsGathered = 256;

struct Plan {
  int64_t cell;    // images that share cells; all that follows counts them as one
  int64_t pixels;  // of an image
  int64_t rows;    // of x
  bool in_place;
  int64_t unit;        // rows of x that stay together: a row of output pixels where x is read in place
  int64_t run_length;  // columns of x that lie side by side
  Parts outputs;
  Parts tap_rows;  // a block of depth is some rows of taps …
  Parts run;       // … or a part of one
  int64_t blocks_per_group, blocks;
  Parts shares;  // in units

  template <typename T>
  Plan(const WeightGradient<T>& g, const MicroKernels<T>& micro)
      : cell(micro.cell),
        pixels(g.x.P * g.x.Q),
        rows(ceil_div(g.x.N, cell) * pixels),
        in_place(g.x.taps_adjoin() && pixels >= kFewestPixels),
        unit(in_place ? g.x.Q : 1),
        run_length(in_place ? g.x.S * g.x.channels : g.x.depth()),
        outputs(g.columns, micro.nr, in_place ? kOutputsInPlace : kOutputsGathered),
        tap_rows(in_place ? g.x.R : 1, 1, in_place ? std::max<int64_t>(1, kDepthInPlace / run_length) : 1),
        run(run_length, 1, in_place ? kDepthInPlace : kDepthGathered),
        blocks_per_group(outputs.count * tap_rows.count * run.count),
        blocks(g.groups * blocks_per_group),
        shares(rows / unit, 1, ceil_div(rows / unit, shares_wanted(rows, blocks))) {}

  int64_t longest_depth() const { return tap_rows.longest() * run.longest(); }
  /// Units in a step of the walk.
  int64_t step() const { return std::max<int64_t>(1, kPixels / unit); }
};

/// What a task works on: taps [first_tap, first_tap + taps), run [u0, u1), outputs [k0, k1) of a group.
struct Task {
  int64_t group, k0, k1, first_tap, taps, u0, u1, d0;
  Task(const Plan& plan, int64_t block) {
    group = block / plan.blocks_per_group;
    const int64_t part = block % plan.blocks_per_group / plan.outputs.count, k = block % plan.outputs.count;
    k0 = plan.outputs.begin(k), k1 = plan.outputs.end(k);
    first_tap = plan.tap_rows.begin(part / plan.run.count);
    taps = plan.tap_rows.end(part / plan.run.count) - first_tap;
    u0 = plan.run.begin(part % plan.run.count), u1 = plan.run.end(part % plan.run.count);
    d0 = first_tap * plan.run_length + u0;
  }
};

/// What the step at row t1 copies that the one before has not, where x is read in place, for fetching it ahead.
struct NextRows {
  Prefetch x, dy;
  int64_t lines_x = 0, lines_dy = 0;  // for each call of the register tile

  NextRows() = default;
  template <typename T>
  NextRows(const WeightGradient<T>& g, const Plan& plan, const Task& task, int64_t t1, int64_t units, int64_t calls) {
    const int64_t row = g.x.W * g.x.pixel_stride, n = t1 / g.x.P * plan.cell;
    // The rows after those that this step copied, as far as they lie in the image.
    const int64_t seen = std::max<int64_t>(0, t1 % g.x.P * g.x.step_h + g.x.origin_h + (g.x.R - 1) * g.x.tap_h);
    const int64_t h = t1 % g.x.P == 0 ? 0 : std::min(seen, g.x.H);
    x = Prefetch(g.x.image + (n * g.x.H + h) * row, row, std::min(units * g.x.step_h, g.x.H - h), row);
    dy = Prefetch(g.dy + task.group * g.dy_group + (n * plan.pixels + t1 % g.x.P * plan.unit) * g.dy_stride + task.k0,
                  g.dy_stride, units * plan.unit, task.k1 - task.k0);
    lines_x = x.share(calls), lines_dy = dy.share(calls);
  }
  void fetch() {
    x.fetch(lines_x);
    dy.fetch(lines_dy);
  }
};

}  // namespace

template <typename T>
void merged_weight_gradient(const WeightGradient<T>& g, Context& context) {
  const MicroKernels<T> micro = micro_kernels<T>();
  const Plan plan(g, micro);
  const int64_t depth = g.x.depth(), K = g.columns;
  GradientShares shares(g, plan.shares.count);

  const int64_t step_rows = plan.step() * plan.unit;
  const int64_t x_stride = padded_stride(plan.longest_depth());
  Patches<T> largest = g.x;
  largest.R = plan.tap_rows.longest();
  const int64_t x_floats = round_up(micro.nr + (plan.in_place ? largest.window_height(std::min(g.x.P, plan.step())) *
                                                                    g.x.window_width() * g.x.channels
                                                              : step_rows * x_stride),
                                    16);
  const int64_t offset_floats = round_up(2 * plan.longest_depth(), 16);
  const int64_t dy_floats = round_up(plan.outputs.longest(), micro.nr) * step_rows;
  const int64_t scratch = offset_floats + x_floats + round_up(dy_floats, 16);
  float* const memory_base = context.workspace->get<float>(shares.floats() + context.threads->size() * scratch);
  shares.place(memory_base);

  for_each_item(
      plan.blocks * plan.shares.count, memory_base + shares.floats(), scratch, context,
      [&](int64_t item, float* memory) {
        const Task task(plan, item % plan.blocks);
        const int64_t share = item / plan.blocks, run = task.u1 - task.u0;
        int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
        float* const x = memory + offset_floats;
        float* const dy = x + x_floats;
        float* const dw = shares.dw + share * shares.dw_size + (task.group * depth + task.d0) * K;
        double* const db = g.db && task.d0 == 0 ? shares.db + share * shares.db_size + task.group * K : nullptr;
        if (db) std::fill(db + task.k0, db + task.k1, 0.0);
        for (int64_t tap = 0; tap < task.taps; ++tap) {
          for (int64_t u = 0; u < run; ++u) offsets[tap * run + u] = (tap * plan.run_length + u) * K;
        }
        Patches<T> patches = g.x;
        patches.image += task.group * g.x_group;
        if (plan.in_place) patches.origin_h += task.first_tap * patches.tap_h, patches.R = task.taps;
        const int64_t window_row = patches.window_width() * patches.channels;

        Block block;
        block.rows = run;
        block.a_stride = plan.in_place ? patches.step_w * patches.channels : x_stride;
        block.segment_stride = patches.step_h * window_row;
        for (int64_t t = plan.shares.begin(share), end = plan.shares.end(share); t < end;) {
          int64_t units = std::min(plan.step(), end - t);
          if (plan.in_place) units = std::min(units, patches.P - t % patches.P);  // within an image
          const int64_t m0 = t * plan.unit, rows = units * plan.unit;
          if (plan.in_place) {
            micro.copy_window_pairs(patches, t / patches.P, t % patches.P, units, x);
          } else {
            micro.gather_row_pairs(patches, m0, m0 + rows, task.d0, task.d0 + run, x, x_stride);
          }
          for (int64_t m = m0; m < m0 + rows;) {
            const int64_t n = m / plan.pixels * plan.cell, pixel = m % plan.pixels;
            const int64_t count = std::min(plan.pixels - pixel, m0 + rows - m);
            const T* const from = g.dy + task.group * g.dy_group + (n * plan.pixels + pixel) * g.dy_stride + task.k0;
            const int64_t pair = plan.cell > 1 && n + 1 < patches.N ? plan.pixels * g.dy_stride : 0;
            if (db && !micro.exact_panels) {  // the panels hold cells
              add_rows(micro, from, g.dy_stride, count, task.k1 - task.k0, db + task.k0);
              if (pair > 0) add_rows(micro, from + pair, g.dy_stride, count, task.k1 - task.k0, db + task.k0);
            }
            micro.pack_panels(from, pair, g.dy_stride, task.k1 - task.k0, count, dy + (m - m0) * micro.nr, micro.nr,
                              rows * micro.nr);
            m += count;
          }
          block.segments = plan.in_place ? units : 1;
          block.run = plan.in_place ? plan.unit : rows;
          block.add = t > plan.shares.begin(share);
          const int64_t calls = ceil_div(task.k1 - task.k0, micro.nr) * task.taps;
          NextRows next;
          if (t + units < end && plan.in_place) {
            next = NextRows(g, plan, task, t + units, std::min(units, end - t - units), calls);
          }
          for (int64_t k = task.k0; k < task.k1; k += micro.nr) {
            block.b = dy + (k - task.k0) * rows;
            block.columns = std::min(micro.nr, task.k1 - k);
            block.c = dw + k;
            if (db && micro.exact_panels) micro.add_columns(block.b, rows, block.columns, db + k);
            for (int64_t tap = 0; tap < task.taps; ++tap) {
              block.a = plan.in_place ? x + tap * patches.tap_h * window_row + task.u0 : x;
              block.c_rows = offsets + tap * run;
              micro.multiply_columns(block);
              next.fetch();
            }
          }
          t += units;
        }
      });
  shares.sum(g, context);
}

template void merged_weight_gradient(const WeightGradient<float>&, Context&);
template void merged_weight_gradient(const WeightGradient<bfloat16>&, Context&);

}  // namespace striate::gemm
