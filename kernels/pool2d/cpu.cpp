// Pooling over NHWC: a vector is a run of channels, a task a row of output (forward) or input (backward) pixels.
// Bound by memory. Backward passes are gathers, so each input pixel is written once and in a fixed order of summation.
#include "kernels/pool2d/pool2d.h"

#include <algorithm>
#include <array>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool2d/cpu.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

struct Range {
  int64_t begin, end;
};

// Calls fn(tag, row) for each of `rows` rows of `row_values` floats, in parallel, with vectors that C channels fill.
template <typename Fn>
void for_each_row(int64_t rows, int64_t row_values, int64_t C, Context& context, Fn&& fn) {
  constexpr int64_t kGrainValues = 16384;
  const int64_t grain = std::max<int64_t>(1, kGrainValues / row_values);
  context.threads->parallel_for(rows, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    with_channel_vectors(C, [&](auto d) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) fn(d, row);
    });
  });
}

// The pixels of the window at output coordinate p that lie inside [0, size).
inline Range window(int64_t p, int64_t stride, int64_t pad, int64_t extent, int64_t size) {
  const int64_t first = p * stride - pad;
  return {std::max<int64_t>(0, first), std::min(size, first + extent)};
}

// The output coordinates whose windows hold pixel h.
inline Range windows_of(int64_t h, int64_t stride, int64_t pad, int64_t extent, int64_t outputs) {
  const int64_t last = h + pad;  // p·stride ≤ h + pad < p·stride + extent
  return {last < extent ? 0 : (last - extent) / stride + 1, std::min(outputs, last / stride + 1)};
}

// A window's pixels inside the image: its first one, and the position r·S + s of that.
struct Pixels {
  int64_t rows, columns, first_position;
};

// Calls fn(c, number of vectors) for runs of four vectors of channels, then single ones, the last of which overlaps.
// Reading a pixel's channels in one go is what the hardware's prefetcher foresees.
template <class D, typename Fn>
HWY_INLINE void for_each_channel_run(D d, int64_t C, Fn&& fn) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + 4 * lanes <= C; c += 4 * lanes) fn(c, std::integral_constant<size_t, 4>());
  for (; c < C; c += lanes) fn(std::min(c, C - lanes), std::integral_constant<size_t, 1>());
}

// The maximum over a window and where it is, for kVectors vectors of channels. kSide > 0: a window of kSide × kSide
// wholly inside the image, which unrolls.
template <int64_t kSide, size_t kVectors, class D>
HWY_INLINE void max_of_window(D d, const float* corner, int64_t row_stride, int64_t S, int64_t C, const Pixels& pixels,
                              float* y, uint8_t* index) {
  const hn::RebindToSigned<D> integers;
  const hn::Rebind<uint8_t, D> bytes;
  const size_t lanes = hn::Lanes(d);
  const int64_t rows = kSide > 0 ? kSide : pixels.rows, columns = kSide > 0 ? kSide : pixels.columns;
  const auto first_position = static_cast<int32_t>(kSide > 0 ? 0 : pixels.first_position);
  const auto row_positions = static_cast<int32_t>(kSide > 0 ? kSide : S);
  const auto position_of = [=](int64_t r, int64_t s) HWY_ATTR {
    return hn::Set(integers, first_position + static_cast<int32_t>(r) * row_positions + static_cast<int32_t>(s));
  };
  hn::Vec<D> best[kVectors];
  hn::Vec<decltype(integers)> position[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    best[v] = hn::LoadU(d, corner + v * lanes);
    position[v] = hn::Set(integers, first_position);
  }
  auto numbers = hn::Eq(best[0], best[0]);  // false where NaN was seen
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t s = 0; s < columns; ++s) {
      const float* pixel = corner + r * row_stride + s * C;
      const auto here = position_of(r, s);
      for (size_t v = 0; v < kVectors; ++v) {
        const auto value = hn::LoadU(d, pixel + v * lanes);
        position[v] = hn::IfThenElse(hn::RebindMask(integers, hn::Gt(value, best[v])), here, position[v]);
        best[v] = hn::Max(value, best[v]);
        numbers = hn::And(numbers, hn::Eq(value, value));
      }
    }
  }
  if (!hn::AllTrue(d, numbers)) {
    // The first NaN of the window wins, whatever Max and Gt made of it: the last one seen backwards.
    for (int64_t r = rows; r-- > 0;) {
      for (int64_t s = columns; s-- > 0;) {
        for (size_t v = 0; v < kVectors; ++v) {
          const auto value = hn::LoadU(d, corner + r * row_stride + s * C + v * lanes);
          const auto nan = hn::IsNaN(value);
          position[v] = hn::IfThenElse(hn::RebindMask(integers, nan), position_of(r, s), position[v]);
          best[v] = hn::IfThenElse(nan, value, best[v]);
        }
      }
    }
  }
  for (size_t v = 0; v < kVectors; ++v) {
    hn::StoreU(best[v], d, y + v * lanes);
    hn::StoreU(hn::DemoteTo(bytes, position[v]), bytes, index + v * lanes);
  }
}

void MaxForward(const float* x, float* y, uint8_t* index, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C, row_stride = shape.W * C;
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C, row_stride](auto d, int64_t row) HWY_ATTR {
    const int64_t n = row / P, p = row % P;
    const Range h = window(p, shape.stride_h, shape.pad_h, shape.R, shape.H);
    for (int64_t q = 0; q < Q; ++q) {
      const Range w = window(q, shape.stride_w, shape.pad_w, shape.S, shape.W);
      const int64_t r_first = h.begin - (p * shape.stride_h - shape.pad_h);
      const int64_t s_first = w.begin - (q * shape.stride_w - shape.pad_w);
      const Pixels pixels = {h.end - h.begin, w.end - w.begin, r_first * shape.S + s_first};
      const float* image = x + n * shape.H * row_stride;
      const float* corner = image + h.begin * row_stride + w.begin * C;
      float* y_pixel = y + (row * Q + q) * C;
      uint8_t* index_pixel = index + (row * Q + q) * C;
      const auto with_side = [&](auto side) HWY_ATTR {
        for_each_channel_run(d, C, [&](int64_t c, auto vectors) HWY_ATTR {
          max_of_window<decltype(side)::value, decltype(vectors)::value>(d, corner + c, row_stride, shape.S, C, pixels,
                                                                         y_pixel + c, index_pixel + c);
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
template <size_t kCount, class D>
HWY_INLINE void gather_pixel(D d, const float* dy, const uint8_t* index, const Holder* holders, size_t count, float* dx,
                             int64_t C) {
  const hn::RebindToSigned<D> integers;
  const hn::Rebind<uint8_t, D> bytes;
  const auto share_of = [&](const Holder& holder, int64_t c) HWY_ATTR {
    const auto position = hn::PromoteTo(integers, hn::LoadU(bytes, index + holder.offset + c));
    const auto here = hn::RebindMask(d, hn::Eq(position, hn::Set(integers, holder.position)));
    return hn::IfThenElseZero(here, hn::LoadU(d, dy + holder.offset + c));
  };
  if constexpr (kCount > 0) {
    // In registers: for all that the compiler knows, a store to dx could change `holders`.
    Holder known[kCount];
    for (size_t i = 0; i < kCount; ++i) known[i] = holders[i];
    for_each_channel_vector(d, C, [=](int64_t c) HWY_ATTR {
      auto sum = share_of(known[0], c);
      for (size_t i = 1; i < kCount; ++i) sum = hn::Add(sum, share_of(known[i], c));
      hn::StoreU(sum, d, dx + c);
    });
  } else {
    for_each_channel_vector(d, C, [=](int64_t c) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (size_t i = 0; i < count; ++i) sum = hn::Add(sum, share_of(holders[i], c));
      hn::StoreU(sum, d, dx + c);
    });
  }
}

void MaxBackward(const float* dy, const uint8_t* index, float* dx, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  for_each_row(shape.N * shape.H, shape.W * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const int64_t n = row / shape.H, h = row % shape.H;
    const Range p_range = windows_of(h, shape.stride_h, shape.pad_h, shape.R, P);
    std::array<Holder, 255> holders;  // a pixel is in at most R·S windows
    // The windows q_begin … q_end − 1 hold pixel w; they move along with it, which saves two divisions a pixel.
    int64_t q_begin = 0, q_end = 0;
    for (int64_t w = 0; w < shape.W; ++w) {
      while (q_end < Q && q_end * shape.stride_w <= w + shape.pad_w) ++q_end;
      while (q_begin * shape.stride_w + shape.S <= w + shape.pad_w) ++q_begin;
      size_t count = 0;
      for (int64_t p = p_range.begin; p < p_range.end; ++p) {
        for (int64_t q = q_begin; q < q_end; ++q) {
          const int64_t r = h + shape.pad_h - p * shape.stride_h, s = w + shape.pad_w - q * shape.stride_w;
          holders[count++] = {((n * P + p) * Q + q) * C, static_cast<int32_t>(r * shape.S + s)};
        }
      }
      float* pixel = dx + (row * shape.W + w) * C;
      switch (count) {  // those of windows 2 wide or 3 wide, 2 apart
        case 1:
          gather_pixel<1>(d, dy, index, holders.data(), count, pixel, C);
          break;
        case 2:
          gather_pixel<2>(d, dy, index, holders.data(), count, pixel, C);
          break;
        case 4:
          gather_pixel<4>(d, dy, index, holders.data(), count, pixel, C);
          break;
        default:
          gather_pixel<0>(d, dy, index, holders.data(), count, pixel, C);
      }
    }
  });
}

// y = factor·Σ of x over rows × columns, for every channel of one pixel of y.
template <class D>
HWY_INLINE void sum_rectangle(D d, const float* x, float* y, int64_t W, int64_t C, Range rows, Range columns,
                              float factor) {
  const auto f = hn::Set(d, factor);
  const size_t lanes = hn::Lanes(d);
  for_each_channel_run(d, C, [&](int64_t c, auto vectors) HWY_ATTR {
    hn::Vec<D> sum[decltype(vectors)::value];
    for (auto& each : sum) each = hn::Zero(d);
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      const float* pixel = x + (h * W + columns.begin) * C + c;
      for (int64_t w = columns.begin; w < columns.end; ++w, pixel += C) {
        for (size_t v = 0; v < std::size(sum); ++v) sum[v] = hn::Add(sum[v], hn::LoadU(d, pixel + v * lanes));
      }
    }
    for (size_t v = 0; v < std::size(sum); ++v) hn::StoreU(hn::Mul(sum[v], f), d, y + c + v * lanes);
  });
}

void AvgForward(const float* x, float* y, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  const float factor = 1.0f / static_cast<float>(shape.R * shape.S);
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range rows = window(row % P, shape.stride_h, shape.pad_h, shape.R, shape.H);
    for (int64_t q = 0; q < Q; ++q) {
      const Range columns = window(q, shape.stride_w, shape.pad_w, shape.S, shape.W);
      const float* image = x + row / P * shape.H * shape.W * C;
      sum_rectangle(d, image, y + (row * Q + q) * C, shape.W, C, rows, columns, factor);
    }
  });
}

void AvgBackward(const float* dy, float* dx, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  const float factor = 1.0f / static_cast<float>(shape.R * shape.S);
  for_each_row(shape.N * shape.H, shape.W * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range rows = windows_of(row % shape.H, shape.stride_h, shape.pad_h, shape.R, P);
    for (int64_t w = 0; w < shape.W; ++w) {
      const Range columns = windows_of(w, shape.stride_w, shape.pad_w, shape.S, Q);
      sum_rectangle(d, dy + row / shape.H * P * Q * C, dx + (row * shape.W + w) * C, Q, C, rows, columns, factor);
    }
  });
}

// The pixels of adaptive cell p of `cells` over `size` pixels, and the cells that hold pixel h: the same formula both
// ways, ⌊h·cells/size⌋ … ⌈(h + 1)·cells/size⌉ − 1.
inline Range adaptive_range(int64_t p, int64_t cells, int64_t size) {
  return {p * size / cells, ((p + 1) * size + cells - 1) / cells};
}

void AdaptiveForward(const float* x, float* y, const AdaptivePool2dShape& shape, Context& context) {
  const int64_t P = shape.P, Q = shape.Q, C = shape.C;
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range rows = adaptive_range(row % P, P, shape.H);
    for (int64_t q = 0; q < Q; ++q) {
      const Range columns = adaptive_range(q, Q, shape.W);
      const auto pixels = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
      sum_rectangle(d, x + row / P * shape.H * shape.W * C, y + (row * Q + q) * C, shape.W, C, rows, columns,
                    1.0f / pixels);
    }
  });
}

void AdaptiveBackward(const float* dy, float* dx, const AdaptivePool2dShape& shape, Context& context) {
  const int64_t P = shape.P, Q = shape.Q, C = shape.C;
  for_each_row(shape.N * shape.H, shape.W * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range p_range = adaptive_range(row % shape.H, shape.H, P);
    const float* image = dy + row / shape.H * P * Q * C;
    for (int64_t w = 0; w < shape.W; ++w) {
      const Range q_range = adaptive_range(w, shape.W, Q);
      for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (int64_t p = p_range.begin; p < p_range.end; ++p) {
          const Range rows = adaptive_range(p, P, shape.H);
          for (int64_t q = q_range.begin; q < q_range.end; ++q) {
            const Range columns = adaptive_range(q, Q, shape.W);
            const auto pixels = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
            sum = hn::MulAdd(hn::LoadU(d, image + (p * Q + q) * C + c), hn::Set(d, 1.0f / pixels), sum);
          }
        }
        hn::StoreU(sum, d, dx + (row * shape.W + w) * C + c);
      });
    }
  });
}

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(MaxForward);
HWY_EXPORT(MaxBackward);
HWY_EXPORT(AvgForward);
HWY_EXPORT(AvgBackward);
HWY_EXPORT(AdaptiveForward);
HWY_EXPORT(AdaptiveBackward);

void max_pool2d_forward(const float* x, float* y, uint8_t* index, const Pool2dShape& shape, Context& context) {
  shape.check();
  HWY_DYNAMIC_DISPATCH(MaxForward)(x, y, index, shape, context);
}

void max_pool2d_backward(const float* dy, const uint8_t* index, float* dx, const Pool2dShape& shape, Context& context) {
  shape.check();
  HWY_DYNAMIC_DISPATCH(MaxBackward)(dy, index, dx, shape, context);
}

void avg_pool2d_forward(const float* x, float* y, const Pool2dShape& shape, Context& context) {
  shape.check();
  HWY_DYNAMIC_DISPATCH(AvgForward)(x, y, shape, context);
}

void avg_pool2d_backward(const float* dy, float* dx, const Pool2dShape& shape, Context& context) {
  shape.check();
  HWY_DYNAMIC_DISPATCH(AvgBackward)(dy, dx, shape, context);
}

void adaptive_avg_pool2d_forward(const float* x, float* y, const AdaptivePool2dShape& shape, Context& context) {
  shape.check();
  HWY_DYNAMIC_DISPATCH(AdaptiveForward)(x, y, shape, context);
}

void adaptive_avg_pool2d_backward(const float* dy, float* dx, const AdaptivePool2dShape& shape, Context& context) {
  shape.check();
  HWY_DYNAMIC_DISPATCH(AdaptiveBackward)(dy, dx, shape, context);
}

}  // namespace striate::cpu
#endif
