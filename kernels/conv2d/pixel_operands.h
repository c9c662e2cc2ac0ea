#pragma once

#include <climits>

#include "kernels/gemm/fast_division.h"
#include "kernels/gemm/tile_copy.h"

// The operands of conv2d's products that are not matrices: pixels under a filter's taps, read where they lie.
namespace striate::conv2d {

/// NHWC images, a window at every pixel of a grid [n, rows, columns]: tap (r, s) of the window at (n, i, j) is pixel
/// (i·stride_h + origin_h + r·step_h, j·stride_w + origin_w + s·step_w) of image n. Forward: origin −pad, step the
/// dilation. Backward-data: the images are dy, the grid one phase of dx's pixels, steps are negative.
template <typename T>
struct Windows {
  using Value = T;
  const T* data;
  int64_t group;  ///< values from a group's channels to the next's
  int H, W, pixel_pitch;
  tile::FastDivision grid_columns, grid_rows;
  tile::FastDivision channels, taps_w;  ///< of a group; of a row of taps
  int stride_h, stride_w, origin_h, origin_w, step_h, step_w;
  int column_bits;    ///< that hold every j·stride_w
  int windows, taps;  ///< in all; products in a window: rows of taps × taps_w × channels

  /// A tap against the pixel (i·stride_h, j·stride_w) of its window.
  struct Tap {
    int offset, dh, dw;
  };

  int64_t values() const {
    const int64_t grid = int64_t{grid_rows.divisor} * grid_columns.divisor;
    return windows / grid * H * W * channels.divisor;
  }
  /// The window's offset, and its row and column in one word: it is read from shared memory with every copy. A padded
  /// image has fewer than 2^30 pixels (images_per_launch()), so that rows and columns, each rounded up to whole bits,
  /// leave the sign to windows that are not there: their rows are so far up that no tap leads back.
  __device__ __forceinline__ int2 place(int window) const {
    if (window >= windows) return make_int2(0, INT_MIN);
    int i, j;
    const int n = grid_rows.divide(grid_columns.divide(window, j), i);
    const int h = i * stride_h, w = j * stride_w;
    return make_int2(((n * H + h) * W + w) * pixel_pitch, h << column_bits | w);
  }
  __device__ __forceinline__ Tap tap(int t) const {
    if (t >= taps) return {0, -(1 << 30), 0};
    int channel, s;
    const int r = taps_w.divide(channels.divide(t, channel), s);
    const int dh = r * step_h + origin_h, dw = s * step_w + origin_w;
    return {(dh * W + dw) * pixel_pitch + channel, dh, dw};
  }
  __device__ __forceinline__ tile::Source<T> source(const int2& place, const Tap& tap) const {
    const int h = place.y >> column_bits, w = place.y & ((1 << column_bits) - 1);
    const bool valid = static_cast<unsigned>(h) + static_cast<unsigned>(tap.dh) < static_cast<unsigned>(H) &&
                       static_cast<unsigned>(w + tap.dw) < static_cast<unsigned>(W);
    return {valid ? data + (place.x + tap.offset) : data, valid};
  }
};

/// A row for every window, its taps along the depth.
template <typename T>
struct WindowRows : Windows<T> {
  static constexpr const char* kName = "windows";
  static constexpr bool kDepthContiguous = true, kHasPlaces = true;
  using Depth = typename Windows<T>::Tap;

  __device__ __forceinline__ void enter_group(int g) { this->data += g * this->group; }
  __device__ __forceinline__ Depth along(int k) const { return this->tap(k); }
  __device__ __forceinline__ tile::Source<T> source(int row, int, const int2* places, const Depth& along) const {
    return Windows<T>::source(gpu::load_8<int2>(places + row), along);
  }
};

/// A column for every tap, the windows along the depth.
template <typename T>
struct WindowColumns : Windows<T> {
  static constexpr const char* kName = "window_columns";
  static constexpr bool kDepthContiguous = false, kHasPlaces = false;
  using Column = typename Windows<T>::Tap;

  __device__ __forceinline__ void enter_group(int g) { this->data += g * this->group; }
  __device__ __forceinline__ Column column(int t) const { return this->tap(t); }
  __device__ __forceinline__ tile::Source<T> source(const Column& column, int window) const {
    return Windows<T>::source(this->place(window), column);
  }
};

/// Weights [K, R, S·C] whose rows of taps are runs of `run` values: zeros, the S·C taps from `front` on, zeros.
template <typename T>
struct FilterRuns {
  static constexpr const char* kName = "filter_runs";
  using Value = T;
  static constexpr bool kDepthContiguous = true, kHasPlaces = false;
  const T* data;
  tile::FastDivision run;
  int front, row_taps, pitch, rows, depth;

  struct Depth {
    int offset;
    bool valid;
  };
  int64_t values() const { return int64_t{rows} * pitch; }
  __device__ __forceinline__ void enter_group(int) {}
  __device__ __forceinline__ Depth along(int k) const {
    int at;
    const int r = run.divide(k, at);
    at -= front;
    return {r * row_taps + at, k < depth && static_cast<unsigned>(at) < static_cast<unsigned>(row_taps)};
  }
  __device__ __forceinline__ tile::Source<T> source(int row, int first_row, const int2*, const Depth& along) const {
    const bool valid = along.valid && first_row + row < rows;
    return {valid ? data + ((first_row + row) * pitch + along.offset) : data, valid};
  }
};

/// Weights [K, R, S, C/groups] as backward-data wants them: a column for every input channel; along the depth every
/// tap_step'th tap from first_h (first_w) on, and for each of them the group's kernels.
template <typename T>
struct FilterColumns {
  static constexpr const char* kName = "filter_columns";
  using Value = T;
  static constexpr bool kDepthContiguous = false, kHasPlaces = false;
  const T* data;
  int64_t group;
  tile::FastDivision kernels, taps_w;
  int S, channels, kernel_pitch;
  int first_h, first_w, step_h, step_w, depth;

  struct Column {
    int channel;
    bool valid;
  };
  int64_t values() const { return int64_t{depth} * channels; }
  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ Column column(int c) const { return {c, c < channels}; }
  __device__ __forceinline__ tile::Source<T> source(const Column& column, int k) const {
    const bool valid = column.valid && k < depth;
    int kernel, s;
    const int r = taps_w.divide(kernels.divide(k, kernel), s);
    const int tap = (first_h + r * step_h) * S + first_w + s * step_w;
    return {valid ? data + (kernel * kernel_pitch + tap * channels + column.channel) : data, valid};
  }
};

}  // namespace striate::conv2d
