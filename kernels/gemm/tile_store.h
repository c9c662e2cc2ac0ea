#pragma once

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"
#include "kernels/gemm/fast_division.h"
#include "kernels/gemm/tile_mask.h"
#include "kernels/gpu/convert.h"
#include "kernels/gpu/vector.h"

namespace striate::tile {

/// What else is done to results before they are stored: nothing, dropout, or the backward pass of the ReLU (and of the
/// dropout behind it) before the layer.
enum class Fused { nothing, dropout, relu_backward };

/// Where results go and what is done to them on the way: (row m, column n) of group g and share s of the depth is
/// data[g·group + s·share + place(m) + n] = act(value + bias[g·columns + n]), or (float only) is added to it. With
/// Fused::dropout, of one group without gaps, those that the mask keeps are scaled and the others 0. With
/// Fused::relu_backward there is no bias and no activation; results are scaled, and 0 where through_relu, which lies as
/// data does, is ≤ 0: what that ReLU gave. With gaps, columns come in runs of `run`, of which only front …
/// front + kept − 1 are stored, densely, `stored` in all. Row m is pixel (image, i, j) of images of `image_rows` ×
/// `row_pixels`; for a plain matrix both are 1.
template <typename T, Fused kFused = Fused::nothing>
struct Output {
  using Value = T;
  static constexpr bool kBfloat16 = std::is_same_v<T, bfloat16>;
  static constexpr bool kThroughRelu = kFused == Fused::relu_backward;
  static constexpr bool kDropout = kFused == Fused::dropout;
  T* data = nullptr;
  const float* bias = nullptr;
  const T* through_relu = nullptr;  ///< may be null
  Mask mask;
  float scale = 1.0f;  ///< of dropout
  int rows = 0, columns = 0;
  FastDivision row_pixels{1}, image_rows{1};
  int image_pitch = 0, row_pitch = 0, pixel_pitch = 0;
  int64_t group = 0, share = 0;
  Activation activation = Activation::none;
  bool accumulate = false;
  bool gaps = false;
  FastDivision run{1};
  int front = 0, kept = 0, stored = 0;
  bool pairs = false;       ///< every run of 2 columns from an even one on lies at a multiple of its size
  bool quads = false;       ///< likewise 4
  bool bias_quads = false;  ///< likewise of the bias

  /// `x` from value number `first` on lies as data does; null: nothing is read.
  void read_through_relu(const T* x, int64_t first) {
    if (!x) return;
    through_relu = x + first;
    const auto as_data = [&](int values) {
      return reinterpret_cast<uintptr_t>(through_relu) % (static_cast<size_t>(values) * sizeof(T)) == 0;
    };
    pairs = pairs && as_data(2);
    quads = quads && as_data(4);
  }

  __device__ __forceinline__ void enter(int g, int s) {
    const int64_t offset = g * group + s * share;
    data += offset;
    if (kThroughRelu && through_relu) through_relu += offset;
    if (!kThroughRelu && bias) bias += g * columns;
  }
  /// Where a row begins, and its part of through_relu, or null.
  struct Row {
    T* to;
    const T* through_relu;
  };
  __device__ __forceinline__ Row row(int m) const {
    int i, j;
    const int image = image_rows.divide(row_pixels.divide(m, j), i);
    const int place = image * image_pitch + i * row_pitch + j * pixel_pitch;
    return {data + place, kThroughRelu && through_relu ? through_relu + place : nullptr};
  }
  __device__ __forceinline__ float bias_of(int n) const {
    return !kThroughRelu && bias && n < columns ? __ldg(bias + n) : 0.0f;
  }
  /// Of columns n to n + 3, n a multiple of 4.
  __device__ __forceinline__ float4 bias_of_quad(int n) const {
    if (!kThroughRelu && bias && bias_quads && n < columns) return gpu::load_16_constant(bias + n);
    return make_float4(bias_of(n), bias_of(n + 1), bias_of(n + 2), bias_of(n + 3));
  }
  /// Which of a thread's results the mask keeps, as draw_kept() numbers them.
  template <int kResults, int kRun, typename Quad>
  __device__ __forceinline__ auto kept_results(Quad&& quad) const {
    if constexpr (kDropout) {
      return draw_kept<kResults, kRun>(mask, columns, quad);
    } else {
      return AllKept{};
    }
  }
  __device__ __forceinline__ float finish(float value, float bias_value, bool passes) const {
    if constexpr (kThroughRelu) return scale * value;
    const float v = activated(value + bias_value);
    if constexpr (kDropout) return passes ? scale * v : 0.0f;
    return v;
  }

  __device__ __forceinline__ void store(const Row& row, int n, float v) const {
    if (n >= columns) return;
    if (gaps) {
      int at;
      const int r = run.divide(n, at);
      at -= front;
      if (static_cast<unsigned>(at) >= static_cast<unsigned>(kept)) return;
      n = r * kept + at;
      if (n >= stored) return;
    }
    if constexpr (kBfloat16) {
      if (kThroughRelu && row.through_relu && gpu::from_bf16(__ldg(&row.through_relu[n].bits)) <= 0.0f) v = 0.0f;
      row.to[n].bits = gpu::to_bf16(v);
    } else {
      if (kThroughRelu && row.through_relu && __ldg(row.through_relu + n) <= 0.0f) v = 0.0f;
      row.to[n] = accumulate ? row.to[n] + v : v;
    }
  }
  /// Columns n and n + 1, n even.
  __device__ __forceinline__ void store_pair(const Row& row, int n, float2 v) const {
    if (kBfloat16 || !pairs) {
      store(row, n, v.x);
      store(row, n + 1, v.y);
    } else if (n < columns) {
      if (kThroughRelu && row.through_relu) {
        const float2 x = gpu::load_8(row.through_relu + n);
        v = make_float2(x.x <= 0.0f ? 0.0f : v.x, x.y <= 0.0f ? 0.0f : v.y);
      }
      if (accumulate) {
        const float2 old = gpu::load_8(row.to + n);
        v.x += old.x, v.y += old.y;
      }
      gpu::store_8(row.to + n, v);
    }
  }
  /// Columns n to n + 3, n a multiple of 4.
  __device__ __forceinline__ void store_quad(const Row& row, int n, float4 v) const {
    if (!quads) {
      store_pair(row, n, make_float2(v.x, v.y));
      store_pair(row, n + 2, make_float2(v.z, v.w));
    } else if (n < columns) {
      if constexpr (kBfloat16) {
        put(row, n, make_uint2(gpu::to_bf16x2(v.y, v.x), gpu::to_bf16x2(v.w, v.z)));
      } else {
        if (kThroughRelu && row.through_relu) {
          const float4 x = gpu::load_16_constant(row.through_relu + n);
          v = make_float4(x.x <= 0.0f ? 0.0f : v.x, x.y <= 0.0f ? 0.0f : v.y, x.z <= 0.0f ? 0.0f : v.z,
                          x.w <= 0.0f ? 0.0f : v.w);
        }
        if (accumulate) {
          const float4 old = gpu::load_16(row.to + n);
          v.x += old.x, v.y += old.y, v.z += old.z, v.w += old.w;
        }
        gpu::store_16(row.to + n, v);
      }
    }
  }
  /// The same of values that are rounded already, two in a word.
  __device__ __forceinline__ void store_rounded(const Row& row, int n, uint2 v) const {
    if (quads) {
      if (n < columns) put(row, n, v);
    } else {
      store_pair(row, n, make_float2(low(v.x), high(v.x)));
      store_pair(row, n + 2, make_float2(low(v.y), high(v.y)));
    }
  }

 private:
  __device__ __forceinline__ float activated(float v) const {
    if (activation == Activation::relu) return v < 0.0f ? 0.0f : v;
    if (activation == Activation::leaky_relu) return v < 0.0f ? v * kLeakySlope : v;
    return v;
  }
  __device__ __forceinline__ static float low(uint32_t pair) { return __uint_as_float(pair << 16); }
  __device__ __forceinline__ static float high(uint32_t pair) { return __uint_as_float(pair & 0xFFFF0000u); }
  /// What of a pair stays where `x` of the forward pass is positive (or NaN).
  __device__ __forceinline__ static uint32_t passed(uint32_t x, uint32_t pair) {
    if (low(x) <= 0.0f) pair &= 0xFFFF0000u;
    if (high(x) <= 0.0f) pair &= 0x0000FFFFu;
    return pair;
  }
  __device__ __forceinline__ void put(const Row& row, int n, uint2 v) const {
    if (kThroughRelu && row.through_relu) {
      const uint2 x = gpu::load_8<uint2>(row.through_relu + n);
      v = make_uint2(passed(x.x, v.x), passed(x.y, v.y));
    }
    gpu::store_8(row.to + n, v);
  }
};

}  // namespace striate::tile
