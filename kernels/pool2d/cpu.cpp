// Pooling over NHWC: a vector is a run of channels, a task a row of output (forward) or input (backward) pixels.
// Bound by memory. Backward passes are gathers, so each input pixel is written once and in a fixed order of summation.
#include "kernels/pool2d/pool2d.h"

#include <algorithm>
#include <array>

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

void MaxForward(const float* x, float* y, uint8_t* index, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> integers;
    const hn::Rebind<uint8_t, decltype(d)> bytes;
    const int64_t n = row / P, p = row % P;
    const auto [h_begin, h_end] = window(p, shape.stride_h, shape.pad_h, shape.R, shape.H);
    const int64_t h_first = p * shape.stride_h - shape.pad_h;
    for (int64_t q = 0; q < Q; ++q) {
      const auto [w_begin, w_end] = window(q, shape.stride_w, shape.pad_w, shape.S, shape.W);
      const int64_t w_first = q * shape.stride_w - shape.pad_w;
      const int64_t out = (row * Q + q) * C;
      for_each_channel_vector(
          d, C, [&, h_begin = h_begin, h_end = h_end, w_begin = w_begin, w_end = w_end](int64_t c) HWY_ATTR {
            const float* corner = x + ((n * shape.H + h_begin) * shape.W + w_begin) * C + c;
            auto best = hn::LoadU(d, corner);
            auto best_position =
                hn::Set(integers, static_cast<int32_t>((h_begin - h_first) * shape.S + (w_begin - w_first)));
            for (int64_t h = h_begin; h < h_end; ++h) {
              const float* pixel = corner + (h - h_begin) * shape.W * C;
              for (int64_t w = w_begin; w < w_end; ++w, pixel += C) {
                const auto value = hn::LoadU(d, pixel);
                // A greater value wins, and NaN over any number; the first NaN stays.
                const auto wins = hn::AndNot(hn::Le(value, best), hn::Eq(best, best));
                best = hn::IfThenElse(wins, value, best);
                const auto position = static_cast<int32_t>((h - h_first) * shape.S + (w - w_first));
                best_position =
                    hn::IfThenElse(hn::RebindMask(integers, wins), hn::Set(integers, position), best_position);
              }
            }
            hn::StoreU(best, d, y + out + c);
            hn::StoreU(hn::DemoteTo(bytes, best_position), bytes, index + out + c);
          });
    }
  });
}

void MaxBackward(const float* dy, const uint8_t* index, float* dx, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  for_each_row(shape.N * shape.H, shape.W * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> integers;
    const hn::Rebind<uint8_t, decltype(d)> bytes;
    const int64_t n = row / shape.H, h = row % shape.H;
    const auto [p_begin, p_end] = windows_of(h, shape.stride_h, shape.pad_h, shape.R, P);
    for (int64_t w = 0; w < shape.W; ++w) {
      const auto [q_begin, q_end] = windows_of(w, shape.stride_w, shape.pad_w, shape.S, Q);
      // Where each window lies, and which of its positions this pixel is; a pixel is in at most R·S ≤ 255 windows.
      struct Window {
        int64_t offset;
        int32_t position;
      };
      std::array<Window, 255> windows;
      size_t count = 0;
      for (int64_t p = p_begin; p < p_end; ++p) {
        for (int64_t q = q_begin; q < q_end; ++q) {
          const int64_t r = h + shape.pad_h - p * shape.stride_h, s = w + shape.pad_w - q * shape.stride_w;
          windows[count++] = {((n * P + p) * Q + q) * C, static_cast<int32_t>(r * shape.S + s)};
        }
      }
      for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (size_t i = 0; i < count; ++i) {
          const auto position = hn::PromoteTo(integers, hn::LoadU(bytes, index + windows[i].offset + c));
          const auto here = hn::RebindMask(d, hn::Eq(position, hn::Set(integers, windows[i].position)));
          sum = hn::Add(sum, hn::IfThenElseZero(here, hn::LoadU(d, dy + windows[i].offset + c)));
        }
        hn::StoreU(sum, d, dx + (row * shape.W + w) * C + c);
      });
    }
  });
}

// y = factor(rows, columns)·Σ of x over rows × columns, for every channel of one pixel of y.
template <class D>
HWY_INLINE void sum_rectangle(D d, const float* x, float* y, int64_t W, int64_t C, Range rows, Range columns,
                              float factor) {
  const auto f = hn::Set(d, factor);
  for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
    auto sum = hn::Zero(d);
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      const float* pixel = x + (h * W + columns.begin) * C + c;
      for (int64_t w = columns.begin; w < columns.end; ++w, pixel += C) sum = hn::Add(sum, hn::LoadU(d, pixel));
    }
    hn::StoreU(hn::Mul(sum, f), d, y + c);
  });
}

void AvgForward(const float* x, float* y, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  const float factor = 1.0f / static_cast<float>(shape.R * shape.S);
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range rows = window(row % P, shape.stride_h, shape.pad_h, shape.R, shape.H);
    for (int64_t q = 0; q < Q; ++q) {
      const Range columns = window(q, shape.stride_w, shape.pad_w, shape.S, shape.W);
      sum_rectangle(d, x + row / P * shape.H * shape.W * C, y + (row * Q + q) * C, shape.W, C, rows, columns, factor);
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
