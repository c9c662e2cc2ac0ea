// Pooling over NHWC. A thread makes one pixel's channels, four floats or eight bfloat16 by an access of 16 bytes; a
// block a tile of neighbouring pixels with at most 128 channels. The pixels that windows share, up to 4 windows of a
// 3×3 pool of stride 2, are re-read from the SM's L1, those at a tile's border from L2: tiles run in the order of
// memory, so neighbours run close in time, and DRAM gives each byte once. Bound by DRAM: x + y + index bytes; L1 is
// asked for R·S/stride² times x, while its bandwidth is about ten times DRAM's. Backward passes are gathers over the
// windows that hold a pixel, in the order p, q: no atomics, each pixel written once, the same bits every run.
#include "kernels/gpu/channels.h"
#include "kernels/gpu/index.h"
#include "kernels/gpu/launch.h"
#include "kernels/pool2d/index_bytes.h"
#include "kernels/pool2d/pool2d.h"

namespace striate::cuda {

namespace {

using gpu::Floats;

// The pixels that threads are laid over: [images · rows, columns, C].
struct PixelGrid {
  unsigned all_rows;  // images · rows
  unsigned rows, columns;
  int C;
  unsigned chunks;  // blocks side by side along C
};

// Calls fn(image, row, column, channel) for the pixels and channels of this thread.
template <int kChannels, typename Fn>
__device__ __forceinline__ void for_each_pixel(const PixelGrid& grid, Fn fn) {
  const unsigned column = blockIdx.x / grid.chunks * blockDim.y + threadIdx.y;
  const int c = static_cast<int>(blockIdx.x % grid.chunks * blockDim.x + threadIdx.x) * kChannels;
  if (column >= grid.columns || c >= grid.C) return;
  for (unsigned row = blockIdx.y * blockDim.z + threadIdx.z; row < grid.all_rows; row += gridDim.y * blockDim.z) {
    fn(static_cast<int>(row / grid.rows), static_cast<int>(row % grid.rows), static_cast<int>(column), c);
  }
}

struct Range {
  int begin, end;
};

// One axis of the windows.
struct Axis {
  int size, outputs;  // pixels of x, and of y
  int extent, stride, pad;

  // The first pixel of window p; it may lie in the padding.
  __device__ int first(int p) const { return p * stride - pad; }
  // The pixels of window p inside the image.
  __device__ Range window(int p) const { return {max(0, first(p)), min(size, first(p) + extent)}; }
  // The windows that hold pixel h: p·stride ≤ h + pad < p·stride + extent.
  __device__ Range windows_of(int h) const {
    const int last = h + pad;
    return {last < extent ? 0 : (last - extent) / stride + 1, min(outputs, last / stride + 1)};
  }
};

struct Windows {
  Axis rows, columns;
};

// Where the maximum of the pixels seen so far is. NaN is greater than all, and of equals the first stays.
template <int kChannels>
struct Maximum {
  Floats<kChannels> value;
  int position[kChannels];

  __device__ __forceinline__ explicit Maximum(int first_position) : value(Floats<kChannels>::all(-INFINITY)) {
    for (int i = 0; i < kChannels; ++i) position[i] = first_position;
  }
  __device__ __forceinline__ void see(const Floats<kChannels>& other, int at) {
    for (int i = 0; i < kChannels; ++i) {
      if (!(other[i] <= value[i]) && value[i] == value[i]) {
        value[i] = other[i];
        position[i] = at;
      }
    }
  }
};

// kSide > 0: square windows of that size; those wholly inside the image unroll, so that all their loads are under way
// at once.
template <int kChannels, int kSide, typename T>
__global__ void max_forward_kernel(const T* __restrict__ x, T* __restrict__ y, uint8_t* __restrict__ index,
                                   Windows windows, bool after_relu, PixelGrid grid) {
  for_each_pixel<kChannels>(grid, [&](int n, int p, int q, int c) {
    const Range rows = windows.rows.window(p), columns = windows.columns.window(q);
    const int64_t row_stride = static_cast<int64_t>(windows.columns.size) * grid.C;
    const int h_first = windows.rows.first(p), w_first = windows.columns.first(q), S = windows.columns.extent;
    const T* pixel =
        x + (static_cast<int64_t>(n) * windows.rows.size + rows.begin) * row_stride + columns.begin * grid.C + c;
    Maximum<kChannels> best((rows.begin - h_first) * S + columns.begin - w_first);
    if (kSide > 0 && rows.end - rows.begin == kSide && columns.end - columns.begin == kSide) {
      for (int r = 0; r < kSide; ++r) {
        for (int s = 0; s < kSide; ++s) {
          best.see(Floats<kChannels>::load_constant(pixel + r * row_stride + s * grid.C), r * kSide + s);
        }
      }
    } else {
      for (int h = rows.begin; h < rows.end; ++h, pixel += row_stride) {
        for (int w = columns.begin; w < columns.end; ++w) {
          best.see(Floats<kChannels>::load_constant(pixel + (w - columns.begin) * grid.C),
                   (h - h_first) * S + w - w_first);
        }
      }
    }
    const int64_t out =
        ((static_cast<int64_t>(n) * windows.rows.outputs + p) * windows.columns.outputs + q) * grid.C + c;
    best.value.store(y + out);
    if (after_relu) {
      for (int i = 0; i < kChannels; ++i) best.position[i] = best.value[i] <= 0.0f ? kNoPixel : best.position[i];
    }
    store_index(index + out, best.position);
  });
}

// kStride > 0: that stride on both axes, and a pixel lies in at most kHolders windows of an axis.
template <int kChannels, int kHolders, int kStride, typename T>
__global__ void max_backward_kernel(const T* __restrict__ dy, const uint8_t* __restrict__ index, T* __restrict__ dx,
                                    Windows windows, PixelGrid grid) {
  if (kStride > 0) windows.rows.stride = windows.columns.stride = kStride;
  for_each_pixel<kChannels>(grid, [&](int n, int h, int w, int c) {
    const Range ps = windows.rows.windows_of(h), qs = windows.columns.windows_of(w);
    const int64_t row_stride = static_cast<int64_t>(windows.columns.outputs) * grid.C;
    const int64_t first = (static_cast<int64_t>(n) * windows.rows.outputs + ps.begin) * row_stride +
                          static_cast<int64_t>(qs.begin) * grid.C + c;
    // Where the pixel lies in its first window; a window further on it lies a stride further back.
    const int r = h - windows.rows.first(ps.begin), s = w - windows.columns.first(qs.begin);
    const int S = windows.columns.extent;
    Floats<kChannels> sum = Floats<kChannels>::all(0.0f);
    const auto add = [&](int i, int j) {
      const int64_t at = first + i * row_stride + j * grid.C;
      add_where_named(sum, dy + at, index + at, (r - i * windows.rows.stride) * S + s - j * windows.columns.stride);
    };
    const int p_count = ps.end - ps.begin, q_count = qs.end - qs.begin;
    if (kHolders > 0) {
      for (int i = 0; i < kHolders; ++i) {
        for (int j = 0; j < kHolders; ++j) {
          if (i < p_count && j < q_count) add(i, j);
        }
      }
    } else {
      for (int i = 0; i < p_count; ++i) {
        for (int j = 0; j < q_count; ++j) add(i, j);
      }
    }
    sum.store(dx + ((static_cast<int64_t>(n) * windows.rows.size + h) * windows.columns.size + w) * grid.C + c);
  });
}

// The pixels of adaptive cell p of `cells` over `size` pixels: ⌊p·size/cells⌋ … ⌈(p + 1)·size/cells⌉ − 1. The cells
// that hold pixel h are adaptive_range(h, size, cells).
__device__ __forceinline__ Range adaptive_range(int p, int cells, int size) {
  const auto up = static_cast<unsigned>(size), down = static_cast<unsigned>(cells), at = static_cast<unsigned>(p);
  return {static_cast<int>(at * up / down), static_cast<int>(((at + 1) * up + down - 1) / down)};
}

// What an average takes together: for a pixel of the result, the rows and columns of the summed tensor, and a factor.
struct WindowAverage {  // forward: the pixels of a window
  Windows windows;
  __device__ Range rows(int p) const { return windows.rows.window(p); }
  __device__ Range columns(int q) const { return windows.columns.window(q); }
  __device__ float factor(Range, Range) const {
    return 1.0f / static_cast<float>(windows.rows.extent * windows.columns.extent);
  }
};

struct HolderAverage {  // backward: the windows that hold a pixel
  Windows windows;
  __device__ Range rows(int h) const { return windows.rows.windows_of(h); }
  __device__ Range columns(int w) const { return windows.columns.windows_of(w); }
  __device__ float factor(Range, Range) const {
    return 1.0f / static_cast<float>(windows.rows.extent * windows.columns.extent);
  }
};

struct CellAverage {  // adaptive forward: the pixels of a cell
  int H, W, P, Q;
  __device__ Range rows(int p) const { return adaptive_range(p, P, H); }
  __device__ Range columns(int q) const { return adaptive_range(q, Q, W); }
  __device__ float factor(Range rows, Range columns) const {
    return 1.0f / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
  }
};

// result = factor · Σ of a rectangle of `from` [N, from_rows, from_columns, C].
template <int kChannels, typename T, typename Average>
__global__ void average_kernel(const T* __restrict__ from, T* __restrict__ result, Average average, int from_rows,
                               int from_columns, PixelGrid grid) {
  for_each_pixel<kChannels>(grid, [&](int n, int p, int q, int c) {
    const Range rows = average.rows(p), columns = average.columns(q);
    const int64_t row_stride = static_cast<int64_t>(from_columns) * grid.C;
    const T* row = from + (static_cast<int64_t>(n) * from_rows + rows.begin) * row_stride + c;
    Floats<kChannels> sum = Floats<kChannels>::all(0.0f);
    for (int h = rows.begin; h < rows.end; ++h, row += row_stride) {
      for (int w = columns.begin; w < columns.end; ++w) {
        const Floats<kChannels> value = Floats<kChannels>::load_constant(row + w * grid.C);
        for (int i = 0; i < kChannels; ++i) sum[i] += value[i];
      }
    }
    const float factor = average.factor(rows, columns);
    for (int i = 0; i < kChannels; ++i) sum[i] *= factor;
    sum.store(result + ((static_cast<int64_t>(n) * grid.rows + p) * grid.columns + q) * grid.C + c);
  });
}

// Each cell that holds the pixel gives its own share: cells differ in size.
template <int kChannels, typename T>
__global__ void adaptive_backward_kernel(const T* __restrict__ dy, T* __restrict__ dx, CellAverage cells,
                                         PixelGrid grid) {
  for_each_pixel<kChannels>(grid, [&](int n, int h, int w, int c) {
    const Range ps = adaptive_range(h, cells.H, cells.P), qs = adaptive_range(w, cells.W, cells.Q);
    Floats<kChannels> sum = Floats<kChannels>::all(0.0f);
    for (int p = ps.begin; p < ps.end; ++p) {
      const T* row = dy + (static_cast<int64_t>(n) * cells.P + p) * cells.Q * grid.C + c;
      for (int q = qs.begin; q < qs.end; ++q) {
        const float share = cells.factor(cells.rows(p), cells.columns(q));
        const Floats<kChannels> value = Floats<kChannels>::load_constant(row + q * grid.C);
        for (int i = 0; i < kChannels; ++i) sum[i] = fmaf(value[i], share, sum[i]);
      }
    }
    sum.store(dx + ((static_cast<int64_t>(n) * cells.H + h) * cells.W + w) * grid.C + c);
  });
}

struct Tiles {
  PixelGrid pixels;
  dim3 blocks, threads;
};

// The tiles over a tensor [images, rows, columns, C]. A warp lies along a row of pixels, where memory is contiguous;
// what remains of 256 threads goes into rows.
Tiles tiles_over(int64_t images, int64_t rows, int64_t columns, int64_t C, int channels_a_thread) {
  const auto all_rows = static_cast<unsigned>(gpu::index_32(images * rows, "pool2d: rows of a batch"));
  const auto width = static_cast<unsigned>(columns);
  const auto [threads, chunks] = gpu::channel_blocks(static_cast<int>(C), channels_a_thread);
  unsigned tile_columns = 1;
  while (tile_columns < width && tile_columns * threads <= 128 && tile_columns < max(4u, 32 / threads)) {
    tile_columns *= 2;
  }
  const unsigned tile_rows = min(all_rows, 256 / (threads * tile_columns));
  const unsigned row_tiles = (all_rows + tile_rows - 1) / tile_rows;
  return {{all_rows, static_cast<unsigned>(rows), width, static_cast<int>(C), chunks},
          dim3((width + tile_columns - 1) / tile_columns * chunks, min(row_tiles, 65535u)),
          dim3(threads, tile_columns, tile_rows)};
}

int in_32_bits(int64_t values) { return gpu::index_32(values, "pool2d: values in a row of pixels"); }

Windows windows_of(const Pool2dShape& s) {
  in_32_bits((s.W + 2 * s.pad_w + s.S) * s.C);
  in_32_bits(s.H + 2 * s.pad_h + s.R);
  const auto axis = [](int64_t size, int64_t outputs, int64_t extent, int64_t stride, int64_t pad) {
    // A stride beyond the image is as good as any other there: only window 0 exists.
    return Axis{static_cast<int>(size), static_cast<int>(outputs), static_cast<int>(extent),
                static_cast<int>(stride < size + 2 * pad ? stride : size + 2 * pad), static_cast<int>(pad)};
  };
  return {axis(s.H, s.P(), s.R, s.stride_h, s.pad_h), axis(s.W, s.Q(), s.S, s.stride_w, s.pad_w)};
}

CellAverage cells_of(const AdaptivePool2dShape& s) {
  in_32_bits((s.W > s.Q ? s.W : s.Q) * s.C);
  in_32_bits((s.H + 1) * (s.P + 1));
  in_32_bits((s.W + 1) * (s.Q + 1));
  return {static_cast<int>(s.H), static_cast<int>(s.W), static_cast<int>(s.P), static_cast<int>(s.Q)};
}

template <int kValue>
using Constant = std::integral_constant<int, kValue>;

template <typename T, typename Average>
void launch_average(const T* from, T* result, const Average& average, int64_t images, int64_t from_rows,
                    int64_t from_columns, int64_t rows, int64_t columns, int64_t C, Context& context) {
  gpu::with_channels<gpu::kWidth<T>>(C, {from, result}, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    const Tiles tiles = tiles_over(images, rows, columns, C, kChannels);
    gpu::launch(average_kernel<kChannels, T, Average>, tiles.blocks, tiles.threads, 0, *context.stream, from, result,
                average, static_cast<int>(from_rows), static_cast<int>(from_columns), tiles.pixels);
  });
}

}  // namespace

template <typename T>
void max_pool2d_forward(const T* x, T* y, uint8_t* index, const Pool2dShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  const Windows windows = windows_of(shape);
  gpu::with_channels<gpu::kWidth<T>>(shape.C, {x, y, index}, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    const Tiles tiles = tiles_over(shape.N, shape.P(), shape.Q(), shape.C, kChannels);
    const auto run = [&](auto side) {
      gpu::launch(max_forward_kernel<kChannels, decltype(side)::value, T>, tiles.blocks, tiles.threads, 0,
                  *context.stream, x, y, index, windows, shape.after_relu, tiles.pixels);
    };
    if (shape.R == 3 && shape.S == 3) {
      run(Constant<3>());
    } else if (shape.R == 2 && shape.S == 2) {
      run(Constant<2>());
    } else {
      run(Constant<0>());
    }
  });
}

template <typename T>
void max_pool2d_backward(const T* dy, const uint8_t* index, T* dx, const Pool2dShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  const Windows windows = windows_of(shape);
  gpu::with_channels<gpu::kWidth<T>>(shape.C, {dy, index, dx}, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    const Tiles tiles = tiles_over(shape.N, shape.H, shape.W, shape.C, kChannels);
    const auto run = [&](auto holders, auto stride) {
      gpu::launch(max_backward_kernel<kChannels, decltype(holders)::value, decltype(stride)::value, T>, tiles.blocks,
                  tiles.threads, 0, *context.stream, dy, index, dx, windows, tiles.pixels);
    };
    const bool two_apart = windows.rows.stride == 2 && windows.columns.stride == 2;
    if (two_apart && shape.R == 3 && shape.S == 3) {
      run(Constant<2>(), Constant<2>());
    } else if (two_apart && shape.R == 2 && shape.S == 2) {
      run(Constant<1>(), Constant<2>());
    } else {
      run(Constant<0>(), Constant<0>());
    }
  });
}

template <typename T>
void avg_pool2d_forward(const T* x, T* y, const Pool2dShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  launch_average(x, y, WindowAverage{windows_of(shape)}, shape.N, shape.H, shape.W, shape.P(), shape.Q(), shape.C,
                 context);
}

template <typename T>
void avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  launch_average(dy, dx, HolderAverage{windows_of(shape)}, shape.N, shape.P(), shape.Q(), shape.H, shape.W, shape.C,
                 context);
}

template <typename T>
void adaptive_avg_pool2d_forward(const T* x, T* y, const AdaptivePool2dShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  launch_average(x, y, cells_of(shape), shape.N, shape.H, shape.W, shape.P, shape.Q, shape.C, context);
}

template <typename T>
void adaptive_avg_pool2d_backward(const T* dy, T* dx, const AdaptivePool2dShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  const CellAverage cells = cells_of(shape);
  gpu::with_channels<gpu::kWidth<T>>(shape.C, {dy, dx}, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    const Tiles tiles = tiles_over(shape.N, shape.H, shape.W, shape.C, kChannels);
    gpu::launch(adaptive_backward_kernel<kChannels, T>, tiles.blocks, tiles.threads, 0, *context.stream, dy, dx, cells,
                tiles.pixels);
  });
}

#define STRIATE_INSTANTIATE(T)                                                                      \
  template void max_pool2d_forward<T>(const T*, T*, uint8_t*, const Pool2dShape&, Context&);        \
  template void max_pool2d_backward<T>(const T*, const uint8_t*, T*, const Pool2dShape&, Context&); \
  template void avg_pool2d_forward<T>(const T*, T*, const Pool2dShape&, Context&);                  \
  template void avg_pool2d_backward<T>(const T*, T*, const Pool2dShape&, Context&);                 \
  template void adaptive_avg_pool2d_forward<T>(const T*, T*, const AdaptivePool2dShape&, Context&); \
  template void adaptive_avg_pool2d_backward<T>(const T*, T*, const AdaptivePool2dShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
