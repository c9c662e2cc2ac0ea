// c = a·w, blocked for the caches. A task owns a block of rows of c and a range of its columns. For each packed panel
// of w, which streams from the second-level cache, it runs the register tile down the whole depth: loading and storing
// c once and no more is what counts (blocks of 256 took 6% longer on AlexNet's layers). a is read in place, where a row
// of output pixels is long enough to fill a tile: from the image, or from a copy of the few image rows the task sees
// that is padded at its sides. Its taps are then runs at a constant stride, and rows of taps above and below the image
// are left out. Elsewhere (small maps, dilation, linear layers) the task gathers its rows of a, a block of depth at a
// time, so that a tile spans rows and images. Many rows: w is packed once, up front, by all threads. Few rows (a linear
// layer, a small batch): each task packs the columns of w it owns just before use, so that w crosses the memory bus
// once.
#include "kernels/gemm/product.h"

#include <algorithm>
#include <type_traits>

#include "kernels/gemm/blocking.h"
#include "kernels/gemm/cache_size.h"
#include "kernels/gemm/micro.h"

namespace striate::gemm {

namespace {

constexpr int64_t kGatheredDepth = 512;  // of a block of gathered rows: a panel of w is 64 KB (AVX-512)
constexpr int64_t kFewRowsDepth = 256;   // the same where a task packs w itself: 8 panels are 256 KB
constexpr int64_t kRowTiles = 8;         // register tiles in a task's block of gathered rows: 230 KB
constexpr int64_t kPixels = 448;         // output pixels of a task that reads in place
constexpr int64_t kShortestRow = 8;      // output pixels in a row that make reading in place worth while
constexpr int64_t kPanelsPacked = 8;     // panels a task packs for itself at a time: 256 KB

/// Where a task finds a: gathered into its scratch, in the image itself, or in a copy of the rows it sees.
enum class Source { gathered, image, window };

/// A tile's pixels, `stride` cells apart, must not all meet in one set of L1 (64 sets of 8 to 12 lines).
bool spreads_over_sets(int64_t stride) { return stride % 1024 != 0; }

/// What the depth of a counts: cells, of one value or of two.
struct CellLayout {
  int64_t cell;      // values in a cell
  bool merged;       // in a window: the taps of a row are one run, though a tap is no whole number of cells
  int64_t channels;  // of a pixel, with their padding

  template <typename T>
  CellLayout(const Patches<T>& a, const MicroKernels<T>& micro, bool in_window)
      : cell(micro.cell),
        merged(in_window && cell > 1 && rows_of_taps_merge(a)),
        channels(merged ? a.channels : round_up(a.channels, cell)) {}

  int64_t cells(int64_t pixels) const { return ceil_div(pixels * channels, cell); }
};

/// Whether pixels begin with a cell.
template <typename T>
bool consists_of_cells(const Patches<T>& a, int64_t cell) {
  return a.channels % cell == 0 && a.pixel_stride % cell == 0 &&
         reinterpret_cast<uintptr_t>(a.image) % (static_cast<uintptr_t>(cell) * sizeof(T)) == 0;
}

template <typename T>
Source choose_source(const Patches<T>& a, const MicroKernels<T>& micro) {
  const int64_t first = a.origin_w, last = (a.Q - 1) * a.step_w + a.origin_w + (a.S - 1) * a.tap_w;
  if (!a.taps_adjoin() || a.Q < kShortestRow || a.depth() == 0) return Source::gathered;
  const bool padded = first < 0 || last >= a.W;
  if (!padded && micro.reads_images && (a.S == 1 || a.channels == a.pixel_stride) && consists_of_cells(a, micro.cell) &&
      spreads_over_sets(a.step_w * a.pixel_stride / micro.cell)) {
    return Source::image;
  }
  return spreads_over_sets(CellLayout(a, micro, true).cells(a.step_w)) ? Source::window : Source::gathered;
}

/// The most cells that copy_windows() writes for `count` output rows.
template <typename T>
int64_t window_cells(const Patches<T>& a, const CellLayout& layout, int64_t count) {
  const int64_t images = ceil_div(count - 1, a.P) + 1;
  return (count * a.step_h + images * a.window_height(1)) * layout.cells(a.window_width());
}

/// How the work is cut: the order of summation does not depend on it.
struct Plan {
  int64_t mr, nr, threads;
  Source source;
  bool in_place, few_rows;
  CellLayout layout;
  int64_t row_unit;    // rows of a that stay together: a row of output pixels where a is read in place
  int64_t run_length;  // columns of a that lie side by side, in cells as all depths
  int64_t depth_block;
  Parts rows;      // in row_units
  Parts tap_rows;  // a block of depth is some rows of taps …
  Parts run;       // … or a part of one
  int64_t panels;
  Parts columns;

  template <typename T>
  Plan(const Product<T>& product, const MicroKernels<T>& micro, int64_t thread_count, bool is_packed)
      : mr(micro.mr),
        nr(micro.nr),
        threads(thread_count),
        source(choose_source(product.a, micro)),
        in_place(source != Source::gathered),
        few_rows(!is_packed && product.a.rows() <= kFewRows),
        layout(product.a, micro, source == Source::window),
        row_unit(in_place ? product.a.Q : 1),
        run_length(layout.cells((in_place ? 1 : product.a.R) * product.a.S)),
        // Half of the second-level cache holds a panel of w, a quarter the window of a.
        depth_block(in_place   ? second_level_cache() / 2 / (nr * kCellBytes)
                    : few_rows ? kFewRowsDepth
                               : kGatheredDepth),
        rows(product.a.rows() / row_unit, 1, rows_together(product.a)),
        tap_rows(in_place ? product.a.R : 1, 1, in_place ? std::max<int64_t>(1, depth_block / run_length) : 1),
        run(run_length, 16, depth_block),
        panels(ceil_div(product.columns, nr)),
        columns(product.columns, nr, panels_together(product.groups) * nr) {
    // A share of the rows for every thread, or as near as can be.
    if (rows.count > threads) rows.count = std::min(rows.n, round_up(rows.count, threads));
  }

  template <typename T>
  int64_t rows_together(const Patches<T>& a) const {
    if (few_rows) return kFewRows;  // each task packs its own weights: once
    if (!in_place) return kRowTiles * mr;
    int64_t most = std::max<int64_t>(1, kPixels / row_unit);
    if (source == Source::window) {
      while (most > 1 && window_cells(a, layout, most) * kCellBytes > second_level_cache() / 4) --most;
    }
    return most;
  }
  /// Enough tasks for every thread to find the next one while others finish.
  int64_t panels_together(int64_t groups) const {
    return std::clamp<int64_t>(panels / ceil_div(4 * threads, rows.count * groups), 1,
                               few_rows ? kPanelsPacked : panels);
  }

  int64_t depth() const { return tap_rows.n * run_length; }
  int64_t depth_blocks() const { return tap_rows.count * run.count; }
  int64_t longest_depth() const { return tap_rows.longest() * run.longest(); }

  // Where w is packed up front.
  int64_t packed_group() const { return panels * nr * depth(); }
  template <typename Depth>
  int64_t packed_at(int64_t group, const Depth& block, int64_t n) const {
    return group * packed_group() + panels * nr * block.d0 + n * (block.d1 - block.d0);
  }

 private:
  static constexpr int64_t kCellBytes = sizeof(float);
};

/// Part of the depth: columns [d0, d1) of a. In place, run [u, u + run) of `taps` rows of taps from `first_tap` on.
struct DepthBlock {
  int64_t first_tap, taps, u, run, d0, d1;
  DepthBlock(const Plan& plan, int64_t i)
      : first_tap(plan.tap_rows.begin(i / plan.run.count)),
        taps(plan.tap_rows.end(i / plan.run.count) - first_tap),
        u(plan.run.begin(i % plan.run.count)),
        run(plan.run.end(i % plan.run.count) - u),
        d0(first_tap * plan.run_length + u),
        d1(d0 + taps * run) {}
};

/// Columns [n0, n1) of a group's weights over a block of depth → panels of nr cells a step.
template <typename T>
void pack_weights(const Product<T>& product, const Plan& plan, const MicroKernels<T>& micro, int64_t group, int64_t n0,
                  int64_t n1, const DepthBlock& depth, float* to) {
  const Weights<T>& weights = product.w;
  const T* const w = weights.w + group * product.w_group;
  const int64_t channels = product.a.channels, S = product.a.S, cell = plan.layout.cell;
  // Values that lie side by side in w and begin and end with a cell: all of the depth, a row of taps, or a tap.
  const bool whole = weights.depth_contiguous && plan.layout.channels == channels && !plan.layout.merged;
  const int64_t values = whole ? product.a.depth() : plan.layout.merged ? S * channels : channels;
  const int64_t cells = ceil_div(values, cell), panel = (depth.d1 - depth.d0) * micro.nr;
  for (int64_t d = depth.d0; d < depth.d1;) {
    const int64_t unit = d / cells, first = d % cells * cell, steps = std::min(cells - d % cells, depth.d1 - d);
    const int64_t length = std::min(values - first, steps * cell);
    float* out = to + (d - depth.d0) * micro.nr;
    if (weights.depth_contiguous) {
      for (int64_t n = n0; n < n1; n += micro.nr, out += panel) {
        micro.pack_transposed(w + n * weights.stride + unit * values + first, weights.stride,
                              std::min(micro.nr, n1 - n), length, out);
      }
    } else {
      const int64_t tap = unit / S * weights.tap_row_stride + unit % S * weights.tap_stride;
      micro.pack_direct(w + tap + first * weights.stride + n0, weights.stride, n1 - n0, length, out, panel);
    }
    d += steps;
  }
}

/// The offsets in c of rows [m0, m1).
template <typename T>
void fill_row_offsets(const Product<T>& product, int64_t m0, int64_t m1, int64_t* to) {
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

/// Copies the windows of output rows [t0, t1) (row t is row t mod P of image t / P) and sets where each row's begins.
template <typename T>
void copy_windows(const Patches<T>& a, const CellLayout& layout, const MicroKernels<T>& micro, int64_t t0, int64_t t1,
                  float* to, int64_t* begins) {
  const int64_t row_length = layout.cells(a.window_width());
  for (int64_t t = t0, offset = 0; t < t1;) {
    const int64_t n = t / a.P, p = t % a.P, rows = std::min(a.P - p, t1 - t);
    micro.copy_window(a, n, p, rows, to + offset);
    for (int64_t i = 0; i < rows; ++i) *begins++ = offset + i * a.step_h * row_length;
    offset += a.window_height(rows) * row_length;
    t += rows;
  }
}

/// Where the same rows begin in the image itself; above it, for a window's first rows.
template <typename T>
void find_windows(const Patches<T>& a, const CellLayout& layout, int64_t t0, int64_t t1, int64_t* begins) {
  for (int64_t t = t0; t < t1; ++t) {
    const int64_t h = t / a.P * a.H + t % a.P * a.step_h + a.origin_h;
    *begins++ = (h * a.W + a.origin_w) * (a.pixel_stride / layout.cell);
  }
}

/// The rows of taps in [begin, end) that see rows of the image from output row t.
struct TapRows {
  int64_t begin, end;
  template <typename T>
  TapRows(const Patches<T>& a, int64_t t, int64_t first, int64_t last) {
    const int64_t h = t % a.P * a.step_h + a.origin_h;
    begin = std::clamp(ceil_div(std::max<int64_t>(-h, 0), a.tap_h), first, last);
    end = std::clamp(ceil_div(std::max<int64_t>(a.H - h, 0), a.tap_h), begin, last);
  }
};

/// What a thread works in: which rows it holds, offsets of c's rows and of the windows, a, and its own panels of w.
struct Scratch {
  int64_t most_rows, a_stride, offset_floats, a_padded, own_floats, sum_offset_floats, floats;
  /// Where bfloat16 are summed in several blocks of depth: their sums so far, panel by panel. Floats are summed in c.
  bool has_sums;

  template <typename T>
  Scratch(const Product<T>& product, const Plan& plan)
      : most_rows(plan.rows.longest() * plan.row_unit),
        a_stride(padded_stride(plan.longest_depth())),
        offset_floats(round_up(2 * (1 + most_rows + plan.rows.longest()), 16)),
        own_floats(plan.few_rows ? round_up(plan.columns.longest(), plan.nr) * plan.longest_depth() : 0),
        has_sums(std::is_same_v<T, bfloat16> && plan.depth_blocks() > 1) {
    const int64_t a_floats = plan.source == Source::window ? window_cells(product.a, plan.layout, plan.rows.longest())
                             : plan.source == Source::gathered ? most_rows * a_stride
                                                               : 0;
    a_padded = round_up(a_floats + plan.nr, 16);
    sum_offset_floats = has_sums ? round_up(2 * most_rows, 16) : 0;
    const int64_t sum_floats = has_sums ? round_up(plan.columns.longest(), plan.nr) * most_rows : 0;
    floats = round_up(offset_floats + a_padded + own_floats + sum_offset_floats + sum_floats, 16);
  }
};

template <typename T>
int64_t all_packed_floats(const Product<T>& product, const Plan& plan) {
  return round_up(product.groups * plan.packed_group(), 16);
}

template <typename T>
void pack_all(const Product<T>& product, const Plan& plan, const MicroKernels<T>& micro, float* to, Context& context) {
  const int64_t blocks = plan.depth_blocks() * plan.panels;
  context.threads->run(product.groups * blocks, [&](int64_t i) {
    const DepthBlock depth(plan, i % blocks / plan.panels);
    const int64_t group = i / blocks, n0 = i % plan.panels * micro.nr;
    pack_weights(product, plan, micro, group, n0, std::min(n0 + micro.nr, product.columns), depth,
                 to + plan.packed_at(group, depth, n0));
  });
}

}  // namespace

template <typename T>
int64_t packed_floats(const Product<T>& product, const Context& context) {
  return all_packed_floats(product, Plan(product, micro_kernels<T>(), context.threads->size(), true));
}

template <typename T>
void pack(const Product<T>& product, float* to, Context& context) {
  const MicroKernels<T> micro = micro_kernels<T>();
  pack_all(product, Plan(product, micro, context.threads->size(), true), micro, to, context);
}

template <typename T>
int64_t scratch_floats(const Product<T>& product, const Context& context) {
  const Plan plan(product, micro_kernels<T>(), context.threads->size(), true);
  return plan.threads * Scratch(product, plan).floats;
}

template <typename T>
void multiply(const Product<T>& product, Context& context) {
  const MicroKernels<T> micro = micro_kernels<T>();
  if (product.a.rows() == 0 || product.columns == 0) return;
  const bool is_packed = product.packed != nullptr;
  const Plan plan(product, micro, context.threads->size(), is_packed);
  const auto [most_rows, a_stride, offset_floats, a_padded, own_floats, sum_offset_floats, scratch, has_sums] =
      Scratch(product, plan);
  const int64_t packed_here = is_packed || plan.few_rows ? 0 : all_packed_floats(product, plan);
  float* const memory_of_all = context.workspace->get<float>(packed_here + plan.threads * scratch);
  if (packed_here > 0) pack_all(product, plan, micro, memory_of_all, context);
  const float* const packed_weights = is_packed ? product.packed : memory_of_all;
  float* const scratch_of_all = memory_of_all + packed_here;

  const int64_t sums_at = offset_floats + a_padded + own_floats;
  for (int64_t thread = 0; thread < plan.threads; ++thread) {
    float* const memory = scratch_of_all + thread * scratch;
    *reinterpret_cast<int64_t*>(memory) = -1;
    for (int64_t i = 0; has_sums && i < most_rows; ++i) {
      reinterpret_cast<int64_t*>(memory + sums_at)[i] = i * micro.nr;
    }
  }
  const int64_t tasks_per_group = plan.rows.count * plan.columns.count;
  for_each_item(product.groups * tasks_per_group, scratch_of_all, scratch, context, [&](int64_t item, float* memory) {
    const int64_t group = item / tasks_per_group;
    const int64_t row_part = item % tasks_per_group / plan.columns.count, column_part = item % plan.columns.count;
    const int64_t t0 = plan.rows.begin(row_part), t1 = plan.rows.end(row_part);
    const int64_t m0 = t0 * plan.row_unit, m1 = t1 * plan.row_unit;
    const int64_t n0 = plan.columns.begin(column_part), n1 = plan.columns.end(column_part);
    int64_t* const held = reinterpret_cast<int64_t*>(memory);
    int64_t* const offsets = held + 1;
    int64_t* const windows = offsets + (m1 - m0);
    float* const a = memory + offset_floats;
    float* const own = a + a_padded;
    const int64_t* const sum_offsets = reinterpret_cast<int64_t*>(memory + sums_at);
    float* const sums = memory + sums_at + sum_offset_floats;
    Patches<T> patches = product.a;
    patches.image += group * product.a_group;
    const bool has_rows = *held == item / plan.columns.count;  // from the task before, for other columns
    *held = item / plan.columns.count;
    if (!has_rows) fill_row_offsets(product, m0, m1, offsets);

    Block block;
    const float* in_place = a;
    int64_t row_length = plan.layout.cells(patches.window_width());
    int64_t pixel_step = plan.layout.cells(patches.step_w);
    if (plan.source == Source::window) {
      if (!has_rows) copy_windows(patches, plan.layout, micro, t0, t1, a, windows);
    } else if (plan.source == Source::image) {
      in_place = reinterpret_cast<const float*>(patches.image);
      pixel_step = patches.step_w * (patches.pixel_stride / plan.layout.cell);
      row_length = patches.W * (patches.pixel_stride / plan.layout.cell);
      if (!has_rows) find_windows(patches, plan.layout, t0, t1, windows);
    }
    block.a_stride = plan.in_place ? pixel_step : a_stride;
    block.segment_stride = patches.tap_h * row_length;
    block.rows = plan.in_place ? plan.row_unit : m1 - m0;
    const int64_t strips = plan.in_place ? t1 - t0 : 1;  // a strip is what multiply_rows() does in one call
    for (int64_t i = 0; i < plan.depth_blocks(); ++i) {
      const DepthBlock depth(plan, i);
      if (!plan.in_place && depth.run > 0) micro.gather_rows(patches, m0, m1, depth.d0, depth.d1, a, a_stride);
      if (plan.few_rows) pack_weights(product, plan, micro, group, n0, n1, depth, own);
      block.run = depth.run;
      block.add = i > 0;
      const bool last = i + 1 == plan.depth_blocks();
      block.activation = last ? product.activation : Activation::none;
      for (int64_t n = n0; n < n1; n += micro.nr) {
        const float* const b =
            plan.few_rows ? own + (n - n0) * (depth.d1 - depth.d0) : packed_weights + plan.packed_at(group, depth, n);
        block.columns = std::min(micro.nr, n1 - n);
        T* const c = product.c + group * product.c_group + n;
        if constexpr (std::is_same_v<T, float>) {
          block.c = c;
        } else {
          block.c = has_sums ? sums + (n - n0) * most_rows : nullptr;
          block.to = last ? c : nullptr;
        }
        block.bias = last && product.bias ? product.bias + group * product.c_group + n : nullptr;
        for (int64_t strip = 0; strip < strips; ++strip) {
          block.a = a, block.b = b;
          block.segments = depth.taps;
          if (plan.in_place) {
            const TapRows taps(patches, t0 + strip, depth.first_tap, depth.first_tap + depth.taps);
            block.segments = taps.end - taps.begin;
            block.a = in_place + windows[strip] + taps.begin * block.segment_stride + depth.u;
            block.b += (taps.begin - depth.first_tap) * depth.run * micro.nr;
          }
          const int64_t* const c_rows = offsets + strip * block.rows;
          block.c_rows = std::is_same_v<T, float> ? c_rows : sum_offsets + strip * block.rows;
          block.to_rows = c_rows;
          micro.multiply_rows(block);
        }
      }
    }
  });
}

#define STRIATE_INSTANTIATE(T)                                        \
  template int64_t packed_floats(const Product<T>&, const Context&);  \
  template void pack(const Product<T>&, float*, Context&);            \
  template int64_t scratch_floats(const Product<T>&, const Context&); \
  template void multiply(const Product<T>&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::gemm
