// Each map is done along the columns of a tile, then along its rows, for one vector of channels at a time: the tile is
// 36 or 64 vectors, which stay in L1. Points ±p share their even and odd halves.
#include "kernels/conv2d/winograd_transforms.h"

#include "kernels/conv2d/winograd_points.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv2d/winograd_transforms.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {

using winograd::Coefficients;
using winograd::Transforms;

template <int n>
using Line = FloatVector[n];

HWY_INLINE FloatVector times(FloatVector v, float f) { return hn::Mul(v, hn::Set(Floats(), f)); }
HWY_INLINE FloatVector plus_times(FloatVector sum, FloatVector v, float f) {
  return hn::MulAdd(v, hn::Set(Floats(), f), sum);
}

/// v = Bᵀ d.
template <int n>
HWY_INLINE void interpolate(const Line<n>& d, Line<n>& v) {
  constexpr Coefficients<n> k;
  constexpr int pairs = n / 2 - 1;
  v[0] = d[2 * pairs];
  v[n - 1] = d[2 * pairs + 1];
#pragma GCC unroll 4
  for (int j = 0; j < pairs; ++j) {
    v[0] = plus_times(v[0], d[2 * j], k.all[j]);
    v[n - 1] = plus_times(v[n - 1], d[2 * j + 1], k.all[j]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < pairs; ++i) {
    FloatVector even = d[2 * pairs], odd = d[2 * pairs - 1];
#pragma GCC unroll 4
    for (int j = 0; j + 1 < pairs; ++j) {
      even = plus_times(even, d[2 * j + 2], k.others[i][j]);
      odd = plus_times(odd, d[2 * j + 1], k.others[i][j]);
    }
    v[2 * i + 1] = plus_times(even, odd, k.power[i][1]);
    v[2 * i + 2] = plus_times(even, odd, -k.power[i][1]);
  }
}

/// v = the values of the polynomial with coefficients c at the points: A or E.
template <int n, int count>
HWY_INLINE void evaluate(const Line<count>& c, Line<n>& v) {
  constexpr Coefficients<n> k;
  v[0] = c[0];
  v[n - 1] = c[count - 1];
#pragma GCC unroll 4
  for (int i = 0; i < n / 2 - 1; ++i) {
    FloatVector even = c[0], odd = times(c[1], k.power[i][1]);
#pragma GCC unroll 8
    for (int j = 2; j < count; j += 2) even = plus_times(even, c[j], k.power[i][j]);
#pragma GCC unroll 8
    for (int j = 3; j < count; j += 2) odd = plus_times(odd, c[j], k.power[i][j]);
    v[2 * i + 1] = hn::Add(even, odd);
    v[2 * i + 2] = hn::Sub(even, odd);
  }
}

/// c = the transpose of evaluate() on v: Aᵀ or Eᵀ.
template <int n, int count>
HWY_INLINE void fold(const Line<n>& v, Line<count>& c) {
  constexpr Coefficients<n> k;
  constexpr int pairs = n / 2 - 1;
  FloatVector sum[pairs], difference[pairs];
#pragma GCC unroll 4
  for (int i = 0; i < pairs; ++i) {
    sum[i] = hn::Add(v[2 * i + 1], v[2 * i + 2]);
    difference[i] = hn::Sub(v[2 * i + 1], v[2 * i + 2]);
  }
  c[0] = v[0];
#pragma GCC unroll 4
  for (int i = 0; i < pairs; ++i) c[0] = hn::Add(c[0], sum[i]);
#pragma GCC unroll 8
  for (int j = 1; j < count; ++j) {
    const auto& half = j % 2 == 0 ? sum : difference;
    c[j] = j == count - 1 ? plus_times(v[n - 1], half[0], k.power[0][j]) : times(half[0], k.power[0][j]);
#pragma GCC unroll 4
    for (int i = 1; i < pairs; ++i) c[j] = plus_times(c[j], half[i], k.power[i][j]);
  }
}

/// Transforms the columns of load(i, j) [rows_in, columns_in], then the rows of what came out, and hands each row to
/// store(i, line).
template <int in, int out, class Load, class Map, class Store>
HWY_INLINE void transform_square(const Load& load, const Map& map, const Store& store) {
  FloatVector half[out][in];
#pragma GCC unroll 8
  for (int j = 0; j < in; ++j) {
    Line<in> from;
    Line<out> to;
#pragma GCC unroll 8
    for (int i = 0; i < in; ++i) from[i] = load(i, j);
    map(from, to);
#pragma GCC unroll 8
    for (int i = 0; i < out; ++i) half[i][j] = to[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < out; ++i) {
    Line<out> to;
    map(half[i], to);
    store(i, to);
  }
}

HWY_INLINE FloatVector activate(FloatVector v, Activation activation) {
  const auto negative = hn::Lt(v, hn::Zero(Floats()));
  if (activation == Activation::relu) return hn::IfThenZeroElse(negative, v);
  if (activation == Activation::leaky_relu) return hn::IfThenElse(negative, times(v, kLeakySlope), v);
  return v;
}

template <typename T, int r>
struct Square {
  static constexpr int m = static_cast<int>(winograd::kTile);
  static constexpr int n = m + r - 1;

  template <int in, class Map>
  static HWY_INLINE void to_points(const T* const* pixels, int64_t first, int64_t channels, const Map& map, float* to,
                                   int64_t stride) {
    for_each_vector(0, channels, [&](int64_t c, auto part) HWY_ATTR {
      transform_square<in, n>([&](int i, int j) HWY_ATTR { return part.load(pixels[i * in + j] + first + c); }, map,
                              [&](int i, const Line<n>& v) HWY_ATTR {
#pragma GCC unroll 8
                                for (int j = 0; j < n; ++j) {
                                  hn::StoreU(v[j], Floats(), to + (i * n + j) * stride + c);
                                }
                              });
    });
  }

  static void input(const T* const* pixels, int64_t first, int64_t channels, float* to, int64_t stride) {
    to_points<n>(
        pixels, first, channels, [](const Line<n>& d, Line<n>& v) HWY_ATTR { interpolate<n>(d, v); }, to, stride);
  }

  static void gradient(const T* const* pixels, int64_t channels, float* to, int64_t stride) {
    to_points<m>(
        pixels, 0, channels, [](const Line<m>& c, Line<n>& v) HWY_ATTR { evaluate<n, m>(c, v); }, to, stride);
  }

  static void output(const float* from, int64_t stride, int64_t channels, const float* bias, Activation activation,
                     T* const* pixels) {
    for_each_vector(0, channels, [&](int64_t c, auto part) HWY_ATTR {
      const FloatVector b = bias ? part.load(bias + c) : hn::Zero(Floats());
      transform_square<n, m>([&](int i, int j)
                                 HWY_ATTR { return hn::LoadU(Floats(), from + (i * n + j) * stride + c); },
                             [](const Line<n>& v, Line<m>& y) HWY_ATTR { fold<n, m>(v, y); },
                             [&](int i, const Line<m>& y) HWY_ATTR {
#pragma GCC unroll 8
                               for (int j = 0; j < m; ++j) {
                                 T* const pixel = pixels[i * m + j];
                                 if (pixel) part.store(activate(hn::Add(y[j], b), activation), pixel + c);
                               }
                             });
    });
  }

  static void weights(const T* w, int64_t row, int64_t column, int64_t channels, float* to, int64_t stride) {
    constexpr Coefficients<n> k;
    for_each_vector(0, channels, [&](int64_t c, auto part) HWY_ATTR {
      transform_square<r, n>([&](int i, int j) HWY_ATTR { return part.load(w + i * row + j * column + c); },
                             [](const Line<r>& g, Line<n>& v) HWY_ATTR { evaluate<n, r>(g, v); },
                             [&](int i, const Line<n>& v) HWY_ATTR {
#pragma GCC unroll 8
                               for (int j = 0; j < n; ++j) {
                                 hn::StoreU(times(v[j], k.scale[i] * k.scale[j]), Floats(),
                                            to + (i * n + j) * stride + c);
                               }
                             });
    });
  }

  static void weight_gradient(const float* from, int64_t stride, int64_t channels, bool add, float* dw, int64_t tap) {
    constexpr Coefficients<n> k;
    for_each_vector(0, channels, [&](int64_t c, auto part) HWY_ATTR {
      transform_square<n, r>(
          [&](int i, int j)
              HWY_ATTR { return times(hn::LoadU(Floats(), from + (i * n + j) * stride + c), k.scale[i] * k.scale[j]); },
          [](const Line<n>& v, Line<r>& g) HWY_ATTR { fold<n, r>(v, g); },
          [&](int i, const Line<r>& g) HWY_ATTR {
#pragma GCC unroll 8
            for (int j = 0; j < r; ++j) {
              float* const to = dw + (i * r + j) * tap + c;
              part.store(add ? hn::Add(part.load(to), g[j]) : g[j], to);
            }
          });
    });
  }

  static void fill(Transforms<T>& t) { t = {n, &input, &output, &weights, &gradient, &weight_gradient}; }
};

template <typename T>
void fill(int64_t taps, Transforms<T>& t) {
  taps == 3 ? Square<T, 3>::fill(t) : Square<T, 5>::fill(t);
}
void fill_floats(int64_t taps, Transforms<float>& t) { fill(taps, t); }
void fill_bfloat16(int64_t taps, Transforms<bfloat16>& t) { fill(taps, t); }

}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(fill_floats);
HWY_EXPORT(fill_bfloat16);

template <>
winograd::Transforms<float> winograd::transforms(int64_t taps) {
  Transforms<float> t;
  HWY_DYNAMIC_DISPATCH(fill_floats)(taps, t);
  return t;
}

template <>
winograd::Transforms<bfloat16> winograd::transforms(int64_t taps) {
  Transforms<bfloat16> t;
  HWY_DYNAMIC_DISPATCH(fill_bfloat16)(taps, t);
  return t;
}

}  // namespace striate::cpu
#endif  // HWY_ONCE
