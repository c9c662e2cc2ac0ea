// Average pooling over NHWC: rows of pixels, vectors along channels. Bound by memory; backward passes are gathers.
#include <cstdint>

#include "kernels/pool2d/pool2d.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool2d/cpu_average.cpp"
#include "kernels/pool2d/cpu_rows.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

// y = factor·Σ of x over rows × columns, for every channel of one pixel of y.
template <class D, typename T>
HWY_INLINE void sum_rectangle(D d, const T* x, T* y, int64_t W, int64_t C, Range rows, Range columns, float factor,
                              bool streamed) {
  const auto f = hn::Set(d, factor);
  const size_t lanes = hn::Lanes(d);
  for_each_channel_run(d, C, [&](int64_t c, auto vectors) HWY_ATTR {
    hn::Vec<D> sum[decltype(vectors)::value];
    for (auto& each : sum) each = hn::Zero(d);
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      const T* pixel = x + (h * W + columns.begin) * C + c;
      for (int64_t w = columns.begin; w < columns.end; ++w, pixel += C) {
        for (size_t v = 0; v < std::size(sum); ++v) sum[v] = hn::Add(sum[v], load(d, pixel + v * lanes));
      }
    }
    for (size_t v = 0; v < std::size(sum); ++v) store(d, hn::Mul(sum[v], f), y + c + v * lanes, streamed);
  });
}

// Fewer channels than a vector has lanes: first the sums of whole rows, which are long runs of values, then those of
// columns, a pixel at a time in whole vectors whose excess the next pixel overwrites.
struct FewChannels {
  int64_t images, in_rows, in_columns, out_rows, out_columns, C;
};

// y = factor·Σ of x over rows_of(p) × columns_of(q).
template <typename T, typename RowsOf, typename ColumnsOf>
void sum_rows_then_columns(const T* x, T* y, const FewChannels& s, float factor, Context& context, RowsOf&& rows_of,
                           ColumnsOf&& columns_of) {
  const Floats d;
  const int64_t lanes = float_lanes(), in = s.in_columns * s.C, out = s.out_columns * s.C;
  constexpr int64_t kGrainValues = 16384;
  const int64_t grain = std::max<int64_t>(1, kGrainValues / out);
  const int64_t rows = s.images * s.out_rows, grains = (rows + grain - 1) / grain;
  const int64_t tasks = std::min<int64_t>(grains, 4 * context.threads->size());
  const int64_t each = (in + lanes + 15) / 16 * 16;  // whole cache lines, so that tasks do not share one
  // Rows in a block: a pixel's load straight after the stores that it straddles would wait for them.
  const int64_t block = std::clamp<int64_t>(2048 / each, 1, 8);
  // What a row of output uses up of x is fetched 16 KiB ahead.
  constexpr int64_t kAhead = 4096;
  const T* const x_end = x + s.images * s.in_rows * in;
  const int64_t consumed = (s.in_rows * in + s.out_rows - 1) / s.out_rows + 16;
  const size_t table = (static_cast<size_t>(s.out_columns) * sizeof(Range) + 63) / 64 * 64;
  auto* memory =
      static_cast<char*>(context.workspace->reserve(table + static_cast<size_t>(tasks * block * each) * sizeof(float)));
  auto* const columns = reinterpret_cast<Range*>(memory);
  float* const scratch = reinterpret_cast<float*>(memory + table);
  for (int64_t q = 0; q < s.out_columns; ++q) columns[q] = columns_of(q);
  context.threads->run(tasks, [&](int64_t task) HWY_ATTR {
    float* const own = scratch + task * block * each;
    std::fill(own, own + block * each, 0.0f);  // what follows a row is read as the excess of its last pixels
    const auto f = hn::Set(d, factor);
    const int64_t end = std::min(rows, grains * (task + 1) / tasks * grain);
    for (int64_t block_begin = grains * task / tasks * grain; block_begin < end; block_begin += block) {
      const int64_t block_end = std::min(end, block_begin + block);
      for (int64_t row = block_begin; row < block_end; ++row) {
        const Range from = rows_of(row % s.out_rows);
        const T* first = x + (row / s.out_rows * s.in_rows + from.begin) * in;
        float* const sums = own + (row - block_begin) * each;
        NextRows(first + std::min<int64_t>(kAhead, x_end - first), consumed, 1, x_end).fetch();
        for_each_vector(0, in, [&](int64_t i, auto part) HWY_ATTR {
          auto sum = hn::Zero(d);
          for (int64_t r = 0; r < from.end - from.begin; ++r) sum = hn::Add(sum, part.load(first + r * in + i));
          part.store(hn::Mul(sum, f), sums + i);
        });
      }
      for (int64_t row = block_begin; row < block_end; ++row) {
        const float* const sums = own + (row - block_begin) * each;
        T* const pixels = y + row * out;
        for (int64_t q = 0; q < s.out_columns; ++q) {
          auto sum = hn::Zero(d);
          for (int64_t w = columns[q].begin; w < columns[q].end; ++w) sum = hn::Add(sum, hn::LoadU(d, sums + w * s.C));
          if (q * s.C + lanes <= out) {
            WholeVector().store(sum, pixels + q * s.C);
          } else {
            PartOfVector{static_cast<size_t>(s.C)}.store(sum, pixels + q * s.C);
          }
        }
      }
    }
  });
}

template <typename T>
void AvgForward(const T* x, T* y, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  const float factor = 1.0f / static_cast<float>(shape.R * shape.S);
  if (C < float_lanes()) {
    return sum_rows_then_columns(
        x, y, {shape.N, shape.H, shape.W, P, Q, C}, factor, context,
        [&](int64_t p) { return window(p, shape.stride_h, shape.pad_h, shape.R, shape.H); },
        [&](int64_t q) { return window(q, shape.stride_w, shape.pad_w, shape.S, shape.W); });
  }
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range rows = window(row % P, shape.stride_h, shape.pad_h, shape.R, shape.H);
    const bool streamed = streams_rows(d, y, shape.y_size(), C);
    const int64_t row_values = shape.W * C;
    NextRows next(x + (row / P * shape.H + rows.end) * row_values, shape.stride_h * row_values, Q, x + shape.x_size());
    for (int64_t q = 0; q < Q; ++q) {
      next.fetch();
      const Range columns = window(q, shape.stride_w, shape.pad_w, shape.S, shape.W);
      const T* image = x + row / P * shape.H * shape.W * C;
      sum_rectangle(d, image, y + (row * Q + q) * C, shape.W, C, rows, columns, factor, streamed);
    }
  });
}

template <typename T>
void AvgBackward(const T* dy, T* dx, const Pool2dShape& shape, Context& context) {
  const int64_t P = shape.P(), Q = shape.Q(), C = shape.C;
  const float factor = 1.0f / static_cast<float>(shape.R * shape.S);
  if (C < float_lanes()) {
    return sum_rows_then_columns(
        dy, dx, {shape.N, P, Q, shape.H, shape.W, C}, factor, context,
        [&](int64_t h) { return windows_of(h, shape.stride_h, shape.pad_h, shape.R, P); },
        [&](int64_t w) { return windows_of(w, shape.stride_w, shape.pad_w, shape.S, Q); });
  }
  for_each_row(shape.N * shape.H, shape.W * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range rows = windows_of(row % shape.H, shape.stride_h, shape.pad_h, shape.R, P);
    const bool streamed = streams_rows(d, dx, shape.x_size(), C);
    for (int64_t w = 0; w < shape.W; ++w) {
      const Range columns = windows_of(w, shape.stride_w, shape.pad_w, shape.S, Q);
      sum_rectangle(d, dy + row / shape.H * P * Q * C, dx + (row * shape.W + w) * C, Q, C, rows, columns, factor,
                    streamed);
    }
  });
}

// The pixels of adaptive cell p of `cells` over `size` pixels, and the cells that hold pixel h: the same formula both
// ways, ⌊h·cells/size⌋ … ⌈(h + 1)·cells/size⌉ − 1.
inline Range adaptive_range(int64_t p, int64_t cells, int64_t size) {
  return {p * size / cells, ((p + 1) * size + cells - 1) / cells};
}

template <typename T>
void AdaptiveForward(const T* x, T* y, const AdaptivePool2dShape& shape, Context& context) {
  const int64_t P = shape.P, Q = shape.Q, C = shape.C;
  for_each_row(shape.N * P, Q * C, C, context, [&, P, Q, C](auto d, int64_t row) HWY_ATTR {
    const Range rows = adaptive_range(row % P, P, shape.H);
    const bool streamed = streams_rows(d, y, shape.y_size(), C);
    for (int64_t q = 0; q < Q; ++q) {
      const Range columns = adaptive_range(q, Q, shape.W);
      const auto pixels = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
      sum_rectangle(d, x + row / P * shape.H * shape.W * C, y + (row * Q + q) * C, shape.W, C, rows, columns,
                    1.0f / pixels, streamed);
    }
  });
}

// dx of one pixel: Σ of its cells' dy, each over the cell's pixels.
template <class D, typename T>
HWY_INLINE void sum_cells(D d, const T* dy, T* dx, Range p_range, Range q_range, const AdaptivePool2dShape& shape,
                          bool streamed) {
  const size_t lanes = hn::Lanes(d);
  for_each_channel_run(d, shape.C, [&](int64_t c, auto vectors) HWY_ATTR {
    hn::Vec<D> sum[decltype(vectors)::value];
    for (auto& each : sum) each = hn::Zero(d);
    for (int64_t p = p_range.begin; p < p_range.end; ++p) {
      const Range rows = adaptive_range(p, shape.P, shape.H);
      for (int64_t q = q_range.begin; q < q_range.end; ++q) {
        const Range columns = adaptive_range(q, shape.Q, shape.W);
        const auto pixels = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
        const auto factor = hn::Set(d, 1.0f / pixels);
        const T* cell = dy + (p * shape.Q + q) * shape.C + c;
        for (size_t v = 0; v < std::size(sum); ++v) sum[v] = hn::MulAdd(load(d, cell + v * lanes), factor, sum[v]);
      }
    }
    for (size_t v = 0; v < std::size(sum); ++v) store(d, sum[v], dx + c + v * lanes, streamed);
  });
}

template <typename T>
void AdaptiveBackward(const T* dy, T* dx, const AdaptivePool2dShape& shape, Context& context) {
  const int64_t C = shape.C;
  for_each_row(shape.N * shape.H, shape.W * C, C, context, [&, C](auto d, int64_t row) HWY_ATTR {
    const Range p_range = adaptive_range(row % shape.H, shape.H, shape.P);
    const bool streamed = streams_rows(d, dx, shape.x_size(), C);
    for (int64_t w = 0; w < shape.W; ++w) {
      sum_cells(d, dy + row / shape.H * shape.P * shape.Q * C, dx + (row * shape.W + w) * C, p_range,
                adaptive_range(w, shape.W, shape.Q), shape, streamed);
    }
  });
}

STRIATE_STORAGE_TYPES(AvgForward);
STRIATE_STORAGE_TYPES(AvgBackward);
STRIATE_STORAGE_TYPES(AdaptiveForward);
STRIATE_STORAGE_TYPES(AdaptiveBackward);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(AvgForward);
STRIATE_EXPORT(AvgBackward);
STRIATE_EXPORT(AdaptiveForward);
STRIATE_EXPORT(AdaptiveBackward);

template <typename T>
void avg_pool2d_forward(const T* x, T* y, const Pool2dShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, AvgForward)(x, y, shape, context);
}

template <typename T>
void avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, AvgBackward)(dy, dx, shape, context);
}

template <typename T>
void adaptive_avg_pool2d_forward(const T* x, T* y, const AdaptivePool2dShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, AdaptiveForward)(x, y, shape, context);
}

template <typename T>
void adaptive_avg_pool2d_backward(const T* dy, T* dx, const AdaptivePool2dShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, AdaptiveBackward)(dy, dx, shape, context);
}

#define STRIATE_INSTANTIATE(T)                                                                      \
  template void avg_pool2d_forward<T>(const T*, T*, const Pool2dShape&, Context&);                  \
  template void avg_pool2d_backward<T>(const T*, T*, const Pool2dShape&, Context&);                 \
  template void adaptive_avg_pool2d_forward<T>(const T*, T*, const AdaptivePool2dShape&, Context&); \
  template void adaptive_avg_pool2d_backward<T>(const T*, T*, const AdaptivePool2dShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
