// Max-pooling over NHWC: a vector is a run of channels, a task a row of output (forward) or input (backward) pixels.
// Bound by memory. The backward pass is a gather, so each input pixel is written once and in a fixed order of
// summation.
#include "kernels/pool2d/pool2d.h"

#include <algorithm>
#include <array>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool2d/cpu.cpp"
#include "kernels/pool2d/cpu_rows.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

// A window's pixels inside the image: its first one, and the position r·S + s of that.
struct Pixels {
  int64_t rows, columns, first_position;
};

// Where windows lie in x, and what becomes of them.
struct MaxPool {
  int64_t row_stride, S, C;
  bool after_relu, streamed;
};

// Stores a window's maxima and their positions for one vector of channels.
template <class D, typename T>
HWY_INLINE void store_maxima(D d, hn::Vec<D> best, hn::Vec<hn::RebindToSigned<D>> position, const MaxPool& pool, T* y,
                             uint8_t* index) {
  const hn::RebindToSigned<D> integers;
  const hn::Rebind<uint8_t, D> bytes;
  if (pool.after_relu) {
    const auto none = hn::RebindMask(integers, hn::Le(best, hn::Zero(d)));
    position = hn::IfThenElse(none, hn::Set(integers, int32_t{kNoPixel}), position);
  }
  store(d, best, y, pool.streamed);
  hn::StoreU(hn::DemoteTo(bytes, position), bytes, index);
}

// One vector of channels of any window. The first NaN wins: the last one seen backwards.
template <class D, typename T>
HWY_NOINLINE void max_with_nan(D d, const T* corner, const MaxPool& pool, const Pixels& pixels, T* y, uint8_t* index) {
  const hn::RebindToSigned<D> integers;
  auto best = hn::Zero(d), first_nan = hn::Zero(d);
  auto position = hn::Zero(integers), nan_position = hn::Zero(integers);
  for (int64_t r = pixels.rows; r-- > 0;) {
    for (int64_t s = pixels.columns; s-- > 0;) {
      const auto value = load(d, corner + r * pool.row_stride + s * pool.C);
      const auto here = hn::Set(integers, static_cast<int32_t>(pixels.first_position + r * pool.S + s));
      const bool last = r == pixels.rows - 1 && s == pixels.columns - 1;
      const auto better = last ? hn::Eq(value, value) : hn::Or(hn::Ge(value, best), hn::IsNaN(best));
      const auto nan = hn::IsNaN(value);
      best = last ? value : hn::IfThenElse(better, value, best);
      position = last ? here : hn::IfThenElse(hn::RebindMask(integers, better), here, position);
      first_nan = hn::IfThenElse(nan, value, first_nan);
      nan_position = hn::IfThenElse(hn::RebindMask(integers, nan), here, nan_position);
    }
  }
  const auto any = hn::IsNaN(first_nan);
  store_maxima(d, hn::IfThenElse(any, first_nan, best),
               hn::IfThenElse(hn::RebindMask(integers, any), nan_position, position), pool, y, index);
}

// The maximum over a window and where it is, for kVectors vectors of channels. kSide > 0: a window of kSide × kSide
// wholly inside the image, which unrolls.
template <int64_t kSide, size_t kVectors, class D, typename T>
HWY_INLINE void max_of_window(D d, const T* corner, const MaxPool& pool, const Pixels& pixels, T* y, uint8_t* index) {
  const hn::RebindToSigned<D> integers;
  const size_t lanes = hn::Lanes(d);
  const int64_t rows = kSide > 0 ? kSide : pixels.rows, columns = kSide > 0 ? kSide : pixels.columns;
  const auto first_position = static_cast<int32_t>(kSide > 0 ? 0 : pixels.first_position);
  const auto row_positions = static_cast<int32_t>(kSide > 0 ? kSide : pool.S);
  hn::Vec<D> best[kVectors], sum[kVectors];
  hn::Vec<decltype(integers)> position[kVectors];
#pragma GCC unroll 4
  for (size_t v = 0; v < kVectors; ++v) {
    best[v] = load(d, corner + v * lanes);
    sum[v] = hn::Zero(d);  // NaN in the end where a value was
    position[v] = hn::Set(integers, first_position);
  }
#pragma GCC unroll 3
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 3
    for (int64_t s = 0; s < columns; ++s) {
      const T* pixel = corner + r * pool.row_stride + s * pool.C;
      const auto here =
          hn::Set(integers, first_position + static_cast<int32_t>(r) * row_positions + static_cast<int32_t>(s));
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) {
        const auto value = load(d, pixel + v * lanes);
        position[v] = hn::IfThenElse(hn::RebindMask(integers, hn::Gt(value, best[v])), here, position[v]);
        best[v] = hn::Max(value, best[v]);
        sum[v] = hn::Add(sum[v], value);
      }
    }
  }
  auto total = sum[0];
#pragma GCC unroll 4
  for (size_t v = 1; v < kVectors; ++v) total = hn::Add(total, sum[v]);
  if (!hn::AllFalse(d, hn::IsNaN(total))) {  // a NaN, or +∞ beside −∞
    for (size_t v = 0; v < kVectors; ++v) {
      max_with_nan(d, corner + v * lanes, pool, pixels, y + v * lanes, index + v * lanes);
    }
    return;
  }
#pragma GCC unroll 4
  for (size_t v = 0; v < kVectors; ++v) store_maxima(d, best[v], position[v], pool, y + v * lanes, index + v * lanes);
}

template <typename T>
void MaxForward(const T* x, T* y, uint8_t* index, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C, row_stride = shape.W * C;
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C, row_stride](auto d, int64_t row) HWY_ATTR {
    const int64_t n = row / P, p = row % P;
    const Range h = window(p, shape.stride_h, shape.pad_h, shape.R, shape.H);
    const MaxPool pool = {row_stride, shape.S, C, shape.after_relu, streams_rows(d, y, shape.y_size(), C)};
    NextRows next(x + (n * shape.H + h.end) * row_stride, shape.stride_h * row_stride, Q, x + shape.x_size());
    for (int64_t q = 0; q < Q; ++q) {
      next.fetch();
      const Range w = window(q, shape.stride_w, shape.pad_w, shape.S, shape.W);
      const int64_t r_first = h.begin - (p * shape.stride_h - shape.pad_h);
      const int64_t s_first = w.begin - (q * shape.stride_w - shape.pad_w);
      const Pixels pixels = {h.end - h.begin, w.end - w.begin, r_first * shape.S + s_first};
      const T* image = x + n * shape.H * row_stride;
      const T* corner = image + h.begin * row_stride + w.begin * C;
      T* y_pixel = y + (row * Q + q) * C;
      uint8_t* index_pixel = index + (row * Q + q) * C;
      const auto with_side = [&](auto side) HWY_ATTR {
        for_each_channel_run(d, C, [&](int64_t c, auto vectors) HWY_ATTR {
          max_of_window<decltype(side)::value, decltype(vectors)::value>(d, corner + c, pool, pixels, y_pixel + c,
                                                                         index_pixel + c);
        });
      };
      const bool whole = pixels.rows == shape.R && pixels.columns == shape.S && shape.R == shape.S;
      if (whole && shape.R == 3) {
        with_side(std::integral_constant<int64_t, 3>());
      } else if (whole && shape.R == 2) {
        with_side(std::integral_constant<int64_t, 2>());
      } else {
        with_side(std::integral_constant<int64_t, 0>());
      }
    }
  });
}

// A window that holds the pixel: where it lies in y, and which of its positions the pixel is.
struct Holder {
  int64_t offset;
  int32_t position;
};

// dx of one pixel. kCount > 0: that many windows, which unrolls.
template <size_t kCount, class D, typename T>
HWY_INLINE void gather_pixel(D d, const T* dy, const uint8_t* index, const Holder* holders, size_t count, T* dx,
                             int64_t C, bool streamed) {
  const hn::RebindToSigned<D> integers;
  const hn::Rebind<uint8_t, D> bytes;
  const auto share_of = [&](const Holder& holder, int64_t c) HWY_ATTR {
    const auto position = hn::PromoteTo(integers, hn::LoadU(bytes, index + holder.offset + c));
    const auto here = hn::RebindMask(d, hn::Eq(position, hn::Set(integers, holder.position)));
    return hn::IfThenElseZero(here, load(d, dy + holder.offset + c));
  };
  if constexpr (kCount > 0) {
    // In registers: for all that the compiler knows, a store to dx could change `holders`.
    Holder known[kCount];
    for (size_t i = 0; i < kCount; ++i) known[i] = holders[i];
    for_each_channel_vector(d, C, [=](int64_t c) HWY_ATTR {
      auto sum = share_of(known[0], c);
      for (size_t i = 1; i < kCount; ++i) sum = hn::Add(sum, share_of(known[i], c));
      store(d, sum, dx + c, streamed);
    });
  } else {
    for_each_channel_vector(d, C, [=](int64_t c) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (size_t i = 0; i < count; ++i) sum = hn::Add(sum, share_of(holders[i], c));
      store(d, sum, dx + c, streamed);
    });
  }
}

// Row h of dx where windows lie side by side: each value of dy goes to one of its window's pixels in that row, if any.
template <class D, typename T>
HWY_INLINE void scatter_row(D d, const T* dy, const uint8_t* index, T* dx, int64_t first_position,
                            const Pool2dShape& shape, bool streamed) {
  const hn::RebindToSigned<D> integers;
  const hn::Rebind<uint8_t, D> bytes;
  const int64_t C = shape.C, S = shape.S;
  const auto first = hn::Set(integers, static_cast<int32_t>(first_position));
  for (int64_t q = 0; q < shape.Q(); ++q, dy += C, index += C, dx += S * C) {
    for_each_channel_vector(d, C, [=](int64_t c) HWY_ATTR {
      const auto column = hn::Sub(hn::PromoteTo(integers, hn::LoadU(bytes, index + c)), first);
      const auto gradient = load(d, dy + c);
      for (int64_t s = 0; s < S; ++s) {
        const auto here = hn::RebindMask(d, hn::Eq(column, hn::Set(integers, static_cast<int32_t>(s))));
        store(d, hn::IfThenElseZero(here, gradient), dx + s * C + c, streamed);
      }
    });
  }
}

template <typename T>
void MaxBackward(const T* dy, const uint8_t* index, T* dx, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  const bool side_by_side = shape.stride_h >= shape.R && shape.stride_w == shape.S && shape.pad_w == 0;
  for_each_row(shape.N * shape.H, shape.W * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const int64_t n = row / shape.H, h = row % shape.H;
    const Range p_range = windows_of(h, shape.stride_h, shape.pad_h, shape.R, P);
    const bool streamed = streams_rows(d, dx, shape.x_size(), C);
    if (side_by_side && p_range.begin < p_range.end) {
      const int64_t p = p_range.begin, from = (n * P + p) * Q * C;
      T* const pixels = dx + row * shape.W * C;
      const int64_t first_position = (h + shape.pad_h - p * shape.stride_h) * shape.S;
      scatter_row(d, dy + from, index + from, pixels, first_position, shape, streamed);
      std::fill(pixels + Q * shape.S * C, pixels + shape.W * C, T{});
      return;
    }
    const int64_t ahead = (n * P + p_range.end) * Q * C;
    NextRows next_dy(dy + ahead, Q * C, shape.W, dy + shape.y_size());
    NextRows next_index(index + ahead, Q * C, shape.W, index + shape.y_size());
    std::array<Holder, 255> holders;  // a pixel is in at most R·S windows
    // The windows q_begin … q_end − 1 hold pixel w; they move along with it, which saves two divisions a pixel.
    int64_t q_begin = 0, q_end = 0;
    for (int64_t w = 0; w < shape.W; ++w) {
      next_dy.fetch();
      next_index.fetch();
      while (q_end < Q && q_end * shape.stride_w <= w + shape.pad_w) ++q_end;
      while (q_begin * shape.stride_w + shape.S <= w + shape.pad_w) ++q_begin;
      size_t count = 0;
      for (int64_t p = p_range.begin; p < p_range.end; ++p) {
        for (int64_t q = q_begin; q < q_end; ++q) {
          const int64_t r = h + shape.pad_h - p * shape.stride_h, s = w + shape.pad_w - q * shape.stride_w;
          holders[count++] = {((n * P + p) * Q + q) * C, static_cast<int32_t>(r * shape.S + s)};
        }
      }
      T* pixel = dx + (row * shape.W + w) * C;
      switch (count) {  // those of windows 2 wide or 3 wide, 2 apart
        case 1:
          gather_pixel<1>(d, dy, index, holders.data(), count, pixel, C, streamed);
          break;
        case 2:
          gather_pixel<2>(d, dy, index, holders.data(), count, pixel, C, streamed);
          break;
        case 4:
          gather_pixel<4>(d, dy, index, holders.data(), count, pixel, C, streamed);
          break;
        default:
          gather_pixel<0>(d, dy, index, holders.data(), count, pixel, C, streamed);
      }
    }
  });
}

STRIATE_STORAGE_TYPES(MaxForward);
STRIATE_STORAGE_TYPES(MaxBackward);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(MaxForward);
STRIATE_EXPORT(MaxBackward);

template <typename T>
void max_pool2d_forward(const T* x, T* y, uint8_t* index, const Pool2dShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, MaxForward)(x, y, index, shape, context);
}

template <typename T>
void max_pool2d_backward(const T* dy, const uint8_t* index, T* dx, const Pool2dShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, MaxBackward)(dy, index, dx, shape, context);
}

#define STRIATE_INSTANTIATE(T)                                                               \
  template void max_pool2d_forward<T>(const T*, T*, uint8_t*, const Pool2dShape&, Context&); \
  template void max_pool2d_backward<T>(const T*, const uint8_t*, T*, const Pool2dShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
