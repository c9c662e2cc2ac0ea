#pragma once

#include <cstdint>

namespace striate::gemm {

/// The matrix that im2col would write, never written down: row m = (n·P + p)·Q + q holds the pixels that output (n,p,q)
/// sees, column (r·S + s)·channels + c. Element = image[n][p·step_h + origin_h + r·tap_h][q·step_w + origin_w +
/// s·tap_w][c], 0 outside the image. taps ≥ 1 ascend. A plain row-major matrix is the case H = W = P = Q = R = S = 1.
template <typename T>
struct Patches {
  const T* image = nullptr;  ///< [N,H,W,pixel_stride], at the first channel of the group
  int64_t N = 0, H = 1, W = 1;
  int64_t channels = 0;      ///< taken from a pixel
  int64_t pixel_stride = 0;  ///< values from a pixel to the next
  int64_t P = 1, Q = 1;
  int64_t R = 1, S = 1;
  int64_t step_h = 1, step_w = 1;
  int64_t origin_h = 0, origin_w = 0;
  int64_t tap_h = 1, tap_w = 1;

  int64_t rows() const { return N * P * Q; }
  int64_t depth() const { return R * S * channels; }
  /// Rows as they lie, pixel_stride apart.
  bool is_plain() const { return H * W * P * Q * R * S == 1 && origin_h == 0 && origin_w == 0; }
  /// Size of the window that `output_rows` rows of output pixels see, in pixels.
  int64_t window_height(int64_t output_rows) const { return (output_rows - 1) * step_h + (R - 1) * tap_h + 1; }
  int64_t window_width() const { return (Q - 1) * step_w + (S - 1) * tap_w + 1; }
  /// A row of taps lies side by side in such a window.
  bool taps_adjoin() const { return tap_w == 1 || S == 1; }
};

/// Where two values share a cell, pixels of an odd number of channels are padded, unless every output pixel's first tap
/// begins a cell anyhow: then a row of taps is one run, whose last cell also holds a value of the next pixel, to be
/// multiplied by zero.
template <typename T>
bool rows_of_taps_merge(const Patches<T>& x) {
  return x.channels % 2 == 1 && x.channels == x.pixel_stride && x.taps_adjoin() && x.step_w % 2 == 0;
}

/// Rows [N,C] of a plain matrix.
template <typename T>
Patches<T> plain_rows(const T* x, int64_t N, int64_t C) {
  Patches<T> p;
  p.image = x;
  p.N = N;
  p.channels = p.pixel_stride = C;
  return p;
}

}  // namespace striate::gemm
