#pragma once

#include "kernels/gemm/fast_division.h"
#include "kernels/gemm/tile_copy.h"

// The operands of conv2d's products that are not matrices: pixels under a filter's taps, read where they lie.
namespace striate::conv2d {

/// Rows or columns that lie outside of every image: no tap leads back from there.
constexpr int kNowhere = -(1 << 30);

/// NHWC images, a window at every pixel of a grid [n, rows, columns]: tap (r, s) of the window at (n, i, j) is pixel
/// (i·stride_h + origin_h + r·step_h, j·stride_w + origin_w + s·step_w) of image n. Forward: origin −pad, step the
/// dilation. Backward-data: the images are dy, the grid one phase of dx's pixels, steps are negative.
struct Windows {
  const float* data;
  int64_t group;  ///< floats from a group's channels to the next's
  int H, W, pixel_pitch;
  tile::FastDivision grid_columns, grid_rows;
  tile::FastDivision channels, taps_w;  ///< of a group; of a row of taps
  int stride_h, stride_w, origin_h, origin_w, step_h, step_w;
  int windows, taps;  ///< in all; products in a window: rows of taps × taps_w × channels

  struct Tap {
    int offset, dh, dw;
  };

  /// (offset of its corner, row, column, 0) of a window.
  __device__ __forceinline__ int4 corner(int window) const {
    int i, j;
    const int n = grid_rows.divide(grid_columns.divide(window, j), i);
    const int h = i * stride_h + origin_h, w = j * stride_w + origin_w;
    return make_int4(((n * H + h) * W + w) * pixel_pitch, h, w, 0);
  }
  __device__ __forceinline__ Tap tap(int t) const {
    int channel, s;
    const int r = taps_w.divide(channels.divide(t, channel), s);
    const int dh = r * step_h, dw = s * step_w;
    return {(dh * W + dw) * pixel_pitch + channel, dh, dw};
  }
  __device__ __forceinline__ tile::Source source(const int4& corner, const Tap& tap) const {
    const bool valid = static_cast<unsigned>(corner.y + tap.dh) < static_cast<unsigned>(H) &&
                       static_cast<unsigned>(corner.z + tap.dw) < static_cast<unsigned>(W);
    return {valid ? data + (corner.x + tap.offset) : data, valid};
  }
};

/// A row for every window, its taps along the depth.
struct WindowRows : Windows {
  static constexpr bool kDepthContiguous = true, kHasPlaces = true;
  using Depth = Tap;

  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ int4 place(int window) const {
    return window < windows ? corner(window) : make_int4(0, kNowhere, kNowhere, 0);
  }
  __device__ __forceinline__ Depth along(int k) const { return k < taps ? tap(k) : Tap{0, kNowhere, kNowhere}; }
  __device__ __forceinline__ tile::Source source(int row, int, const int4* places, const Depth& along) const {
    return Windows::source(gpu::load_16<int4>(places + row), along);
  }
};

/// A column for every tap, the windows along the depth.
struct WindowColumns : Windows {
  static constexpr bool kDepthContiguous = false, kHasPlaces = false;
  using Column = Tap;

  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ Column column(int t) const { return t < taps ? tap(t) : Tap{0, kNowhere, kNowhere}; }
  __device__ __forceinline__ tile::Source source(const Column& column, int window) const {
    const int4 place = window < windows ? corner(window) : make_int4(0, kNowhere, kNowhere, 0);
    return Windows::source(place, column);
  }
};

/// Weights [K, R, S, C/groups] as backward-data wants them: a column for every input channel; along the depth every
/// tap_step'th tap from first_h (first_w) on, and for each of them the group's kernels.
struct FilterColumns {
  static constexpr bool kDepthContiguous = false, kHasPlaces = false;
  const float* data;
  int64_t group;
  tile::FastDivision kernels, taps_w;
  int S, channels, kernel_pitch;
  int first_h, first_w, step_h, step_w, depth;

  struct Column {
    int channel;
    bool valid;
  };
  __device__ __forceinline__ void enter_group(int g) { data += g * group; }
  __device__ __forceinline__ Column column(int c) const { return {c, c < channels}; }
  __device__ __forceinline__ tile::Source source(const Column& column, int k) const {
    const bool valid = column.valid && k < depth;
    int kernel, s;
    const int r = taps_w.divide(kernels.divide(k, kernel), s);
    const int tap = (first_h + r * step_h) * S + first_w + s * step_w;
    return {valid ? data + (kernel * kernel_pitch + tap * channels + column.channel) : data, valid};
  }
};

}  // namespace striate::conv2d
