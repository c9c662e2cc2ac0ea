// dw = dyᵀ·x for images: many rows (pixels), a small dw. The register tile holds dwᵀ: up to 14 channels of one tap by
// 32 outputs, summed over the pixels. x is copied a few image rows (or a few small images) at a time into planes of a
// tile's channels, one cache line a pixel; a tap then is a shift within its plane, so that a plane and dy's panel stay
// in L1 for all R·S taps, and what a tap sees beyond the image's edge is left out, not multiplied with zeros. Pixels
// lie image by image within a pixel of the plane, columns in step_w phases, so that a row of outputs is one run.
// A task owns a block of dwᵀ and a share of the steps; the shares are summed in ascending order. All cuts depend on the
// shape alone. Few channels (a first layer) go by merged_gradient.cpp instead.
#include <algorithm>
#include <new>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/gradient_shares.h"
#include "kernels/gemm/micro.h"
#include "kernels/gemm/prefetch.h"
#include "kernels/gemm/weight_gradient.h"

namespace striate::gemm {

namespace {

constexpr int64_t kPixels = 512;           // a step of the walk: a panel of dy is 64 KB (AVX-512); 256 took 3% longer
constexpr int64_t kBlockFloats = 7 << 14;  // of dwᵀ that a task adds to, in the second-level cache: 448 KB

/// Indices t of [begin, end) for which t·step + origin lies in [0, size).
struct Inside {
  int64_t begin, end;
  Inside(int64_t first, int64_t last, int64_t step, int64_t origin, int64_t size) {
    begin = std::clamp(ceil_div(std::max<int64_t>(-origin, 0), step), first, last);
    end = std::clamp(ceil_div(std::max<int64_t>(size - origin, 0), step), begin, last);
  }
  int64_t count() const { return end - begin; }
};

/// Whether some tap of some output sees position i of an axis.
bool is_seen(int64_t i, int64_t step, int64_t origin, int64_t taps, int64_t tap) {
  for (int64_t r = 0; r < taps; ++r) {
    if ((i - origin - r * tap) % step == 0) return true;
  }
  return false;
}

struct Plan {
  int64_t mr, nr, pixel;    // cells of a pixel in a plane
  int64_t cell;             // images that share cells; all that follows counts them as one
  Parts images, rows;       // a step is some rows of one image or some whole images
  Parts outputs, channels;  // of a block
  int64_t blocks_per_group, blocks;
  Parts shares;  // of the steps

  template <typename T>
  Plan(const WeightGradient<T>& g, const MicroKernels<T>& micro)
      : mr(micro.mr),
        nr(micro.nr),
        pixel(micro.plane_pixel),
        cell(micro.cell),
        images(ceil_div(g.x.N, cell), 1, std::max<int64_t>(1, kPixels / (g.x.P * g.x.Q))),
        rows(g.x.P, 1, std::max<int64_t>(1, kPixels / g.x.Q)),
        outputs(g.columns, nr, outputs_together(g)),
        channels(g.x.channels, mr, channels_together(g.x, outputs.longest())),
        blocks_per_group(outputs.count * channels.count),
        blocks(g.groups * blocks_per_group),
        shares(steps(), 1, ceil_div(steps(), shares_wanted(images.n * g.x.P * g.x.Q, blocks))) {}

  template <typename T>
  int64_t channels_together(const Patches<T>& x, int64_t outputs_of_block) const {
    return std::max(mr, kBlockFloats / (x.R * x.S * outputs_of_block));
  }
  /// Outputs in a block for which x and dy are copied least often: x once for each block of outputs, dy of channels.
  template <typename T>
  int64_t outputs_together(const WeightGradient<T>& g) const {
    int64_t best = nr, least = INT64_MAX;
    for (int64_t count = 1; count <= ceil_div(g.columns, nr); ++count) {
      const int64_t longest = Parts(g.columns, nr, ceil_div(ceil_div(g.columns, nr), count) * nr).longest();
      const int64_t copied = g.x.H * g.x.W * g.x.channels * count +
                             g.x.P * g.x.Q * g.columns * ceil_div(g.x.channels, channels_together(g.x, longest));
      if (copied < least) least = copied, best = longest;
    }
    return round_up(best, nr);
  }

  int64_t steps() const { return images.count * rows.count; }
  int64_t step_rows() const { return rows.longest(); }
  /// Values from a cell's first image to its second, of `size` values each; 0 where there is none.
  template <typename T>
  int64_t pair(const Patches<T>& x, int64_t n, int64_t size) const {
    return cell > 1 && n * cell + 1 < x.N ? size : 0;
  }
  int64_t planes() const { return tile_count(channels.longest(), mr); }
};

/// What a task works on: channels [c0, c1), outputs [k0, k1) of a group.
struct Task {
  int64_t group, k0, k1, c0, c1;
  Task(const Plan& plan, int64_t block)
      : group(block / plan.blocks_per_group),
        k0(plan.outputs.begin(block % plan.outputs.count)),
        k1(plan.outputs.end(block % plan.outputs.count)),
        c0(plan.channels.begin(block % plan.blocks_per_group / plan.outputs.count)),
        c1(plan.channels.end(block % plan.blocks_per_group / plan.outputs.count)) {}
};

/// A step of the walk: output rows [p0, p1) of images [n0, n1), which see rows from h0 on.
struct Step {
  int64_t n0, n1, p0, p1, h0;
  template <typename T>
  Step(const Plan& plan, const Patches<T>& x, int64_t i)
      : n0(plan.images.begin(i / plan.rows.count)),
        n1(plan.images.end(i / plan.rows.count)),
        p0(plan.rows.begin(i % plan.rows.count)),
        p1(plan.rows.end(i % plan.rows.count)),
        h0(std::max<int64_t>(0, p0 * x.step_h + x.origin_h)) {}
  int64_t images() const { return n1 - n0; }
};

/// x's part of a step: planes of a tile's channels, [h − h0][w mod step_w][w / step_w][image][pixel].
struct Planes {
  int64_t phase_length, row_length, plane_length;

  template <typename T>
  Planes(const Plan& plan, const Patches<T>& x, int64_t images)
      : phase_length(ceil_div(x.W, x.step_w) * images * plan.pixel),
        row_length(x.step_w * phase_length),
        plane_length(std::min(x.H, x.window_height(plan.step_rows())) * row_length) {}

  template <typename T>
  void copy(const Plan& plan, const MicroKernels<T>& micro, const Patches<T>& x, const Task& task, const Step& step,
            float* to) const {
    const int64_t end = std::min(x.H, (step.p1 - 1) * x.step_h + x.origin_h + (x.R - 1) * x.tap_h + 1);
    for (int64_t h = step.h0; h < end; ++h, to += row_length) {
      if (!is_seen(h, x.step_h, x.origin_h, x.R, x.tap_h)) continue;
      for (int64_t phase = 0; phase < std::min(x.step_w, x.W); ++phase) {
        if (!is_seen(phase, x.step_w, x.origin_w, x.S, x.tap_w)) continue;
        for (int64_t n = step.n0; n < step.n1; ++n) {
          micro.pack_planes(x.image + ((n * plan.cell * x.H + h) * x.W + phase) * x.pixel_stride + task.c0,
                            plan.pair(x, n, x.H * x.W * x.pixel_stride), x.step_w * x.pixel_stride,
                            ceil_div(x.W - phase, x.step_w), task.c1 - task.c0,
                            to + phase * phase_length + (n - step.n0) * plan.pixel, step.images() * plan.pixel,
                            plane_length);
        }
      }
    }
  }
};

/// What a task copies for a step, for fetching it ahead. It lies at one stride but for rows that two steps share.
struct NextStep {
  Prefetch x, dy;
  int64_t lines_x = 0, lines_dy = 0;  // for each call of the register tile

  NextStep() = default;
  template <typename T>
  NextStep(const WeightGradient<T>& g, const Plan& plan, const Task& task, const Step& step, int64_t calls) {
    const int64_t n0 = step.n0 * plan.cell, n1 = std::min(g.x.N, step.n1 * plan.cell);
    const int64_t h1 = std::min(g.x.H, g.x.window_height(step.p1) + g.x.origin_h);
    x = Prefetch(g.x.image + task.group * g.x_group + (n0 * g.x.H + step.h0) * g.x.W * g.x.pixel_stride + task.c0,
                 g.x.pixel_stride, ((n1 - 1 - n0) * g.x.H + h1 - step.h0) * g.x.W, task.c1 - task.c0);
    dy = Prefetch(g.dy + task.group * g.dy_group + (n0 * g.x.P + step.p0) * g.x.Q * g.dy_stride + task.k0, g.dy_stride,
                  ((n1 - 1 - n0) * g.x.P + step.p1 - step.p0) * g.x.Q, task.k1 - task.k0);
    lines_x = x.share(calls), lines_dy = dy.share(calls);
  }
  void fetch() {
    x.fetch(lines_x);
    dy.fetch(lines_dy);
  }
};

/// What a tap sees of a step: runs of the planes and of dy's panel.
struct TapRuns {
  int64_t segments = 0, run = 0;
  int64_t plane = 0, panel = 0, panel_skip = 0;  // floats: where both begin; between the panel's runs

  template <typename T>
  TapRuns(const Plan& plan, const Patches<T>& x, const Step& step, const Planes& layout, int64_t r, int64_t s) {
    const int64_t h = x.origin_h + r * x.tap_h, w = x.origin_w + s * x.tap_w, images = step.images();
    const Inside p(step.p0, step.p1, x.step_h, h, x.H), q(0, x.Q, x.step_w, w, x.W);
    if (p.count() == 0 || q.count() == 0) return;
    const int64_t column = q.begin * x.step_w + w;
    segments = p.count(), run = q.count() * images;
    plane = (p.begin * x.step_h + h - step.h0) * layout.row_length + column % x.step_w * layout.phase_length +
            column / x.step_w * images * plan.pixel;
    panel = ((p.begin - step.p0) * x.Q + q.begin) * images * plan.nr;
    panel_skip = (x.Q - q.count()) * images * plan.nr;
  }
};

}  // namespace

template <typename T>
void pixel_weight_gradient(const WeightGradient<T>& g, Context& context) {
  const MicroKernels<T> micro = micro_kernels<T>();
  if (g.x.channels < kMergedChannels) return merged_weight_gradient(g, context);
  const Plan plan(g, micro);
  const Patches<T>& x = g.x;
  const int64_t K = g.columns, Q = x.Q;
  GradientShares shares(g, plan.shares.count);

  const int64_t offset_floats = round_up(2 * plan.mr, 16);
  const int64_t taps = x.R * x.S, run_floats = round_up(taps * int64_t{sizeof(TapRuns) / sizeof(float)}, 16);
  const int64_t plane_floats = plan.planes() * Planes(plan, x, plan.images.longest()).plane_length;
  const int64_t dy_floats = round_up(plan.outputs.longest(), plan.nr) * plan.images.longest() * plan.step_rows() * Q;
  const int64_t scratch = round_up(offset_floats + run_floats + plane_floats + dy_floats, 16);
  float* const memory_base = context.workspace->get<float>(shares.floats() + context.threads->size() * scratch);
  shares.place(memory_base);

  for_each_item(plan.blocks * plan.shares.count, memory_base + shares.floats(), scratch, context,
                [&](int64_t item, float* memory) {
                  const Task task(plan, item % plan.blocks);
                  const int64_t share = item / plan.blocks;
                  int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
                  TapRuns* const tap_runs = reinterpret_cast<TapRuns*>(memory + offset_floats);
                  float* const planes = memory + offset_floats + run_floats;
                  float* const dy = planes + plane_floats;
                  float* const dw = shares.dw + share * shares.dw_size + task.group * x.depth() * K;
                  double* const db =
                      g.db && task.c0 == 0 ? shares.db + share * shares.db_size + task.group * K : nullptr;
                  if (db) std::fill(db + task.k0, db + task.k1, 0.0);
                  for (int64_t c = 0; c < plan.mr; ++c) offsets[c] = c * K;
                  Patches<T> patches = x;
                  patches.image += task.group * g.x_group;
                  const int64_t tiles = tile_count(task.c1 - task.c0, plan.mr);

                  Block block;
                  block.c_rows = offsets;
                  block.a_stride = plan.pixel;
                  for (int64_t i = plan.shares.begin(share); i < plan.shares.end(share); ++i) {
                    const Step step(plan, x, i);
                    const Planes layout(plan, x, step.images());
                    layout.copy(plan, micro, patches, task, step, planes);
                    const int64_t image_rows = (step.p1 - step.p0) * Q, panel = image_rows * step.images() * plan.nr;
                    for (int64_t n = step.n0; n < step.n1; ++n) {
                      const T* const from =
                          g.dy + task.group * g.dy_group + (n * plan.cell * x.P + step.p0) * Q * g.dy_stride + task.k0;
                      const int64_t pair = plan.pair(x, n, x.P * Q * g.dy_stride);
                      if (db && !micro.exact_panels) {  // the panels hold cells
                        add_rows(micro, from, g.dy_stride, image_rows, task.k1 - task.k0, db + task.k0);
                        if (pair > 0)
                          add_rows(micro, from + pair, g.dy_stride, image_rows, task.k1 - task.k0, db + task.k0);
                      }
                      micro.pack_panels(from, pair, g.dy_stride, task.k1 - task.k0, image_rows,
                                        dy + (n - step.n0) * plan.nr, step.images() * plan.nr, panel);
                    }
                    for (int64_t tap = 0; tap < taps; ++tap) {
                      new (tap_runs + tap) TapRuns(plan, x, step, layout, tap / x.S, tap % x.S);
                    }
                    block.add = i > plan.shares.begin(share);
                    const int64_t calls = ceil_div(task.k1 - task.k0, plan.nr) * tiles * taps;
                    NextStep next;
                    if (i + 1 < plan.shares.end(share)) next = NextStep(g, plan, task, Step(plan, x, i + 1), calls);
                    block.segment_stride = x.step_h * layout.row_length;
                    for (int64_t k = task.k0; k < task.k1; k += plan.nr) {
                      const float* const b = dy + (k - task.k0) / plan.nr * panel;
                      block.columns = std::min(plan.nr, task.k1 - k);
                      if (db && micro.exact_panels)
                        micro.add_columns(b, image_rows * step.images(), block.columns, db + k);
                      for (int64_t t = 0; t < tiles; ++t) {
                        const int64_t c = tile_begin(t, tiles, task.c1 - task.c0);
                        block.rows = tile_begin(t + 1, tiles, task.c1 - task.c0) - c;
                        for (int64_t tap = 0; tap < taps; ++tap) {
                          const TapRuns& runs = tap_runs[tap];
                          if (runs.segments == 0 && block.add) continue;
                          block.segments = runs.segments;
                          block.run = runs.run;
                          block.a = planes + t * layout.plane_length + runs.plane;
                          block.b = b + runs.panel;
                          block.b_skip = runs.panel_skip;
                          block.c = dw + (tap * x.channels + task.c0 + c) * K + k;
                          micro.multiply_columns(block);
                          next.fetch();
                        }
                      }
                    }
                  }
                });
  shares.sum(g, context);
}

template void pixel_weight_gradient(const WeightGradient<float>&, Context&);
template void pixel_weight_gradient(const WeightGradient<bfloat16>&, Context&);

}  // namespace striate::gemm
