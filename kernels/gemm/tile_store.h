#pragma once

#include "kernels/activation/activation.h"
#include "kernels/gemm/fast_division.h"
#include "kernels/gpu/vector.h"

namespace striate::tile {

/// Where results go and what is done to them on the way: (row m, column n) of group g and share s of the depth is
/// data[g·group + s·share + place(m) + n] = act(value + bias[g·columns + n]), or is added to it.
/// With gaps, columns come in runs of `run`, of which only front … front + kept − 1 are stored, densely, `stored` in
/// all. Row m is pixel (image, i, j) of images of `image_rows` × `row_pixels`; for a plain matrix both are 1.
struct Output {
  float* data = nullptr;
  const float* bias = nullptr;
  int rows = 0, columns = 0;
  FastDivision row_pixels{1}, image_rows{1};
  int image_pitch = 0, row_pitch = 0, pixel_pitch = 0;
  int64_t group = 0, share = 0;
  Activation activation = Activation::none;
  bool accumulate = false;
  bool gaps = false;
  FastDivision run{1};
  int front = 0, kept = 0, stored = 0;
  bool pairs = false;       ///< every run of 2 columns from an even one on lies at a multiple of 8 bytes
  bool quads = false;       ///< likewise 4 and 16
  bool bias_quads = false;  ///< likewise of the bias

  __device__ __forceinline__ void enter(int g, int s) {
    data += g * group + s * share;
    if (bias) bias += g * columns;
  }
  __device__ __forceinline__ float* row(int m) const {
    int i, j;
    const int image = image_rows.divide(row_pixels.divide(m, j), i);
    return data + (image * image_pitch + i * row_pitch + j * pixel_pitch);
  }
  __device__ __forceinline__ float bias_of(int n) const { return bias && n < columns ? __ldg(bias + n) : 0.0f; }
  /// Of columns n to n + 3, n a multiple of 4.
  __device__ __forceinline__ float4 bias_of_quad(int n) const {
    if (bias && bias_quads && n < columns) return gpu::load_16_constant(bias + n);
    return make_float4(bias_of(n), bias_of(n + 1), bias_of(n + 2), bias_of(n + 3));
  }
  __device__ __forceinline__ float finish(float value, float bias_value) const {
    const float v = value + bias_value;
    if (activation == Activation::relu) return v < 0.0f ? 0.0f : v;
    if (activation == Activation::leaky_relu) return v < 0.0f ? v * kLeakySlope : v;
    return v;
  }

  __device__ __forceinline__ void store(float* row, int n, float v) const {
    if (n >= columns) return;
    if (gaps) {
      int at;
      const int r = run.divide(n, at);
      at -= front;
      if (static_cast<unsigned>(at) >= static_cast<unsigned>(kept)) return;
      n = r * kept + at;
      if (n >= stored) return;
    }
    row[n] = accumulate ? row[n] + v : v;
  }
  /// Columns n and n + 1, n even.
  __device__ __forceinline__ void store_pair(float* row, int n, float2 v) const {
    if (!pairs) {
      store(row, n, v.x);
      store(row, n + 1, v.y);
    } else if (n < columns) {
      if (accumulate) {
        const float2 old = gpu::load_8(row + n);
        v.x += old.x, v.y += old.y;
      }
      gpu::store_8(row + n, v);
    }
  }
  /// Columns n to n + 3, n a multiple of 4.
  __device__ __forceinline__ void store_quad(float* row, int n, float4 v) const {
    if (!quads) {
      store_pair(row, n, make_float2(v.x, v.y));
      store_pair(row, n + 2, make_float2(v.z, v.w));
    } else if (n < columns) {
      if (accumulate) {
        const float4 old = gpu::load_16(row + n);
        v.x += old.x, v.y += old.y, v.z += old.z, v.w += old.w;
      }
      gpu::store_16(row + n, v);
    }
  }
};

}  // namespace striate::tile
