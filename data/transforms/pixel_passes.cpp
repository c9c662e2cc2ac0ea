// Passes over 8-bit pixels with 32-bit weights: a multiplication of 32-bit lanes takes the whole weight at once, where
// 16-bit ones would need two. A decoded picture takes ten times as long to decode as to resize.
#include "data/transforms/pixel_passes.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "data/transforms/pixel_passes.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kHalf = 1 << (kWeightBits - 1);

uint8_t rounded(int sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

template <int kChannels>
void scalar_row(const uint8_t* in, const ResizeAxis& axis, int width, uint8_t* out) {
  for (int x = 0; x < width; ++x) {
    const int* weight = axis.weights.data() + static_cast<size_t>(x) * axis.taps;
    const uint8_t* pixel = in + static_cast<size_t>(axis.first[x]) * kChannels;
    int sums[kChannels];
    for (int c = 0; c < kChannels; ++c) sums[c] = kHalf;
    for (int t = 0; t < axis.count[x]; ++t) {
      for (int c = 0; c < kChannels; ++c) sums[c] += pixel[t * kChannels + c] * weight[t];
    }
    for (int c = 0; c < kChannels; ++c) out[x * kChannels + c] = rounded(sums[c]);
  }
}

#if HWY_TARGET != HWY_SCALAR
/// kRows rows of RGB at once, which share their weights. A pixel is a vector of four lanes: the byte behind it is read,
/// and but for the last pixel of a row overwritten too.
template <int kRows>
HWY_INLINE void rgb_rows(const uint8_t* in, size_t stride, const ResizeAxis& axis, int width, uint8_t* out,
                         size_t out_stride) {
  const hn::FixedTag<uint8_t, 4> bytes;
  const hn::FixedTag<int32_t, 4> lanes;
  using Sum = hn::Vec<decltype(lanes)>;
  const auto half = hn::Set(lanes, kHalf);
  for (int x = 0; x < width; ++x) {
    const int* weights = axis.weights.data() + static_cast<size_t>(x) * axis.taps;
    const uint8_t* pixel = in + static_cast<size_t>(axis.first[x]) * 3;
    Sum sum0 = half, sum1 = half, sum2 = half, sum3 = half;
    const auto add = [&](Sum& sum, const uint8_t* from, Sum weight) HWY_ATTR {
      sum = hn::Add(sum, hn::Mul(hn::PromoteTo(lanes, hn::LoadU(bytes, from)), weight));
    };
    for (int t = 0; t < axis.count[x]; ++t, pixel += 3) {
      const auto weight = hn::Set(lanes, weights[t]);
      add(sum0, pixel, weight);
      if constexpr (kRows == 4) {
        add(sum1, pixel + stride, weight);
        add(sum2, pixel + 2 * stride, weight);
        add(sum3, pixel + 3 * stride, weight);
      }
    }
    const auto store = [&](Sum sum, uint8_t* to) HWY_ATTR {
      const auto rgb = hn::DemoteTo(bytes, hn::ShiftRight<kWeightBits>(sum));
      if (x + 1 < width) {
        hn::StoreU(rgb, bytes, to);
      } else {
        uint8_t last[4];
        hn::StoreU(rgb, bytes, last);
        std::memcpy(to, last, 3);
      }
    };
    uint8_t* to = out + static_cast<size_t>(x) * 3;
    store(sum0, to);
    if constexpr (kRows == 4) {
      store(sum1, to + out_stride);
      store(sum2, to + 2 * out_stride);
      store(sum3, to + 3 * out_stride);
    }
  }
}
#endif

void ResizeRows(const uint8_t* from, size_t stride, const ResizeAxis& axis, Image& to) {
  int y = 0;
  if (to.channels == 1) {
    for (; y < to.height; ++y) scalar_row<1>(from + y * stride, axis, to.width, to.row(y));
    return;
  }
#if HWY_TARGET != HWY_SCALAR
  // Not the last row: the byte behind it is nobody's.
  for (; y + 4 < to.height; y += 4) {
    rgb_rows<4>(from + y * stride, stride, axis, to.width, to.row(y), to.row_bytes());
  }
  for (; y + 1 < to.height; ++y) rgb_rows<1>(from + y * stride, stride, axis, to.width, to.row(y), to.row_bytes());
#endif
  for (; y < to.height; ++y) scalar_row<3>(from + y * stride, axis, to.width, to.row(y));
}

void ResizeColumns(const uint8_t* from, size_t stride, const ResizeAxis& axis, Image& to) {
  const hn::ScalableTag<int32_t> lanes;
  const hn::Rebind<uint8_t, decltype(lanes)> quarter;
  using Sum = hn::Vec<decltype(lanes)>;
  const size_t vector = hn::Lanes(lanes), bytes = to.row_bytes();
  for (int y = 0; y < to.height; ++y) {
    const int* weights = axis.weights.data() + static_cast<size_t>(y) * axis.taps;
    const int count = axis.count[y];
    const uint8_t* in = from + axis.first[y] * stride;
    uint8_t* out = to.row(y);
    const auto one = [&](size_t i) HWY_ATTR {
      auto sum = hn::Set(lanes, kHalf);
      for (int t = 0; t < count; ++t) {
        const auto pixels = hn::PromoteTo(lanes, hn::LoadU(quarter, in + t * stride + i));
        sum = hn::Add(sum, hn::Mul(pixels, hn::Set(lanes, weights[t])));
      }
      hn::StoreU(hn::DemoteTo(quarter, hn::ShiftRight<kWeightBits>(sum)), quarter, out + i);
    };
    size_t i = 0;
    for (; i + 4 * vector <= bytes; i += 4 * vector) {
      Sum sum0 = hn::Set(lanes, kHalf), sum1 = sum0, sum2 = sum0, sum3 = sum0;
      const uint8_t* pixels = in + i;
      for (int t = 0; t < count; ++t, pixels += stride) {
        const auto weight = hn::Set(lanes, weights[t]);
        sum0 = hn::Add(sum0, hn::Mul(hn::PromoteTo(lanes, hn::LoadU(quarter, pixels)), weight));
        sum1 = hn::Add(sum1, hn::Mul(hn::PromoteTo(lanes, hn::LoadU(quarter, pixels + vector)), weight));
        sum2 = hn::Add(sum2, hn::Mul(hn::PromoteTo(lanes, hn::LoadU(quarter, pixels + 2 * vector)), weight));
        sum3 = hn::Add(sum3, hn::Mul(hn::PromoteTo(lanes, hn::LoadU(quarter, pixels + 3 * vector)), weight));
      }
      const auto store = [&](Sum sum, size_t at) HWY_ATTR {
        hn::StoreU(hn::DemoteTo(quarter, hn::ShiftRight<kWeightBits>(sum)), quarter, out + at);
      };
      store(sum0, i);
      store(sum1, i + vector);
      store(sum2, i + 2 * vector);
      store(sum3, i + 3 * vector);
    }
    for (; i + vector <= bytes; i += vector) one(i);
    if (i < bytes && bytes >= vector) one(bytes - vector);
    if (bytes >= vector) continue;
    for (; i < bytes; ++i) {
      int sum = kHalf;
      for (int t = 0; t < count; ++t) sum += in[t * stride + i] * weights[t];
      out[i] = rounded(sum);
    }
  }
}

void ScalePixels(const uint8_t* x, size_t count, int channels, const double* scale, const double* shift,
                 [[maybe_unused]] bool streamed, float* y) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR && HWY_HAVE_FLOAT64
  const hn::ScalableTag<float> floats;
  const hn::Rebind<uint8_t, decltype(floats)> bytes;
  const hn::Rebind<int32_t, decltype(floats)> integers;
  const hn::Repartition<double, decltype(floats)> doubles;
  const hn::Half<decltype(floats)> half_floats;
  const hn::Half<decltype(integers)> half_integers;
  const size_t vector = hn::Lanes(floats), half = vector / 2;
  // The pattern of the channels repeats after three vectors.
  HWY_ALIGN double pattern[2][3 * hn::MaxLanes(floats)];
  for (size_t lane = 0; lane < 3 * vector; ++lane) {
    pattern[0][lane] = scale[lane % static_cast<size_t>(channels)];
    pattern[1][lane] = shift[lane % static_cast<size_t>(channels)];
  }
  const auto scaled = [&](auto levels, size_t lane) HWY_ATTR {
    const auto exact = hn::MulAdd(hn::PromoteTo(doubles, levels), hn::Load(doubles, pattern[0] + lane),
                                  hn::Load(doubles, pattern[1] + lane));
    return hn::DemoteTo(half_floats, exact);
  };
  const bool past = streamed && reinterpret_cast<uintptr_t>(y) % (sizeof(float) * vector) == 0;
  for (; i + 3 * vector <= count; i += 3 * vector) {
    for (size_t v = 0; v < 3; ++v) {
      const size_t lane = v * vector;
      const auto levels = hn::PromoteTo(integers, hn::LoadU(bytes, x + i + lane));
      const auto low = scaled(hn::LowerHalf(half_integers, levels), lane);
      const auto high = scaled(hn::UpperHalf(half_integers, levels), lane + half);
      const auto both = hn::Combine(floats, high, low);
      if (past) {
        hn::Stream(both, floats, y + i + lane);
      } else {
        hn::StoreU(both, floats, y + i + lane);
      }
    }
  }
  if (past) hwy::FlushStream();
#endif
  for (; i < count; ++i) {
    const size_t c = i % static_cast<size_t>(channels);
    y[i] = static_cast<float>(x[i] * scale[c] + shift[c]);
  }
}

}  // namespace
}  // namespace striate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate {

HWY_EXPORT(ResizeRows);
HWY_EXPORT(ResizeColumns);
HWY_EXPORT(ScalePixels);

void resize_rows(const uint8_t* from, size_t stride, const ResizeAxis& axis, Image& to) {
  HWY_DYNAMIC_DISPATCH(ResizeRows)(from, stride, axis, to);
}

void resize_columns(const uint8_t* from, size_t stride, const ResizeAxis& axis, Image& to) {
  HWY_DYNAMIC_DISPATCH(ResizeColumns)(from, stride, axis, to);
}

void scale_pixels(const uint8_t* x, size_t count, int channels, const double* scale, const double* shift, bool streamed,
                  float* y) {
  HWY_DYNAMIC_DISPATCH(ScalePixels)(x, count, channels, scale, shift, streamed, y);
}

}  // namespace striate
#endif
