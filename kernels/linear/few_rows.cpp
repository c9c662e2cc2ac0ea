// A linear layer for a handful of rows: every weight is read (or its gradient written) once, in the order of memory,
// and used for all rows while it is in a register. Bound by memory.
//   forward          two rows of w at a time; N·2 dot products, each over lanes that are summed at the end
//   backward_data    a task owns a strip of columns and adds four rows of w at a time to it
//   backward_weight  a row of dw at a time
// The order of summation depends on the shape alone.
#include "kernels/linear/few_rows.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/few_rows.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
constexpr Tag kTag;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(kTag));

template <int N>
void forward(const FewRows& o, int64_t begin, int64_t end) {
  constexpr int kOutputs = 2;
  for (int64_t k = begin; k < end; k += kOutputs) {
    const int64_t second = std::min(k + 1, end - 1);  // the last of an odd range is computed twice
    const float* w[kOutputs] = {o.w + k * o.C, o.w + second * o.C};
    Vector sum[kOutputs][N];
    for (int j = 0; j < kOutputs; ++j) {
      for (int n = 0; n < N; ++n) sum[j][n] = hn::Zero(kTag);
    }
    int64_t c = 0;
    for (; c + kLanes <= o.C; c += kLanes) {
      const Vector w0 = hn::LoadU(kTag, w[0] + c), w1 = hn::LoadU(kTag, w[1] + c);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        const Vector x = hn::LoadU(kTag, o.x + n * o.C + c);
        sum[0][n] = hn::MulAdd(x, w0, sum[0][n]);
        sum[1][n] = hn::MulAdd(x, w1, sum[1][n]);
      }
    }
    for (int j = 0; j < kOutputs; ++j) {
      for (int n = 0; n < N; ++n) {
        float total = hn::GetLane(hn::SumOfLanes(kTag, sum[j][n]));
        for (int64_t i = c; i < o.C; ++i) total += o.x[n * o.C + i] * w[j][i];
        const int64_t output = j == 0 ? k : second;
        o.out[n * o.K + output] = o.bias ? total + o.bias[output] : total;
      }
    }
  }
}

template <int N>
void backward_data(const FewRows& o, int64_t begin, int64_t end) {
  constexpr int64_t kRowsAhead = 8;  // rows of w lie far apart: ask for them some hundred nanoseconds ahead
  for (int64_t k = 0; k < o.K; k += 4) {
    const int64_t rows = std::min<int64_t>(4, o.K - k);
    float factor[N][4];
    for (int n = 0; n < N; ++n) {
      for (int64_t j = 0; j < 4; ++j) factor[n][j] = j < rows ? o.x[n * o.K + k + j] : 0.0f;
    }
    const float* w[4];
    for (int64_t j = 0; j < 4; ++j) w[j] = o.w + (k + std::min(j, rows - 1)) * o.C;
    int64_t c = begin;
    if (rows == 4) {
      const bool ahead = k + kRowsAhead + 4 <= o.K;
      for (; c + kLanes <= end; c += kLanes) {
        if (ahead) {
          for (int j = 0; j < 4; ++j) hwy::Prefetch(w[j] + kRowsAhead * o.C + c);
        }
        const Vector w0 = hn::LoadU(kTag, w[0] + c), w1 = hn::LoadU(kTag, w[1] + c);
        const Vector w2 = hn::LoadU(kTag, w[2] + c), w3 = hn::LoadU(kTag, w[3] + c);
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) {
          float* out = o.out + n * o.C + c;
          Vector v = k == 0 ? hn::Zero(kTag) : hn::LoadU(kTag, out);
          v = hn::MulAdd(hn::Set(kTag, factor[n][0]), w0, v);
          v = hn::MulAdd(hn::Set(kTag, factor[n][1]), w1, v);
          v = hn::MulAdd(hn::Set(kTag, factor[n][2]), w2, v);
          v = hn::MulAdd(hn::Set(kTag, factor[n][3]), w3, v);
          hn::StoreU(v, kTag, out);
        }
      }
    }
    for (; c < end; ++c) {
      for (int n = 0; n < N; ++n) {
        float v = k == 0 ? 0.0f : o.out[n * o.C + c];
        for (int64_t j = 0; j < rows; ++j) v += factor[n][j] * w[j][c];
        o.out[n * o.C + c] = v;
      }
    }
  }
}

template <int N>
void backward_weight(const FewRows& o, int64_t begin, int64_t end) {
  for (int64_t k = begin; k < end; ++k) {
    float factor[N];
    for (int n = 0; n < N; ++n) factor[n] = o.w[n * o.K + k];
    float* out = o.out + k * o.C;
    int64_t c = 0;
    for (; c + kLanes <= o.C; c += kLanes) {
      Vector v = o.add ? hn::LoadU(kTag, out + c) : hn::Zero(kTag);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) v = hn::MulAdd(hn::Set(kTag, factor[n]), hn::LoadU(kTag, o.x + n * o.C + c), v);
      hn::StoreU(v, kTag, out + c);
    }
    for (; c < o.C; ++c) {
      float v = o.add ? out[c] : 0.0f;
      for (int n = 0; n < N; ++n) v += factor[n] * o.x[n * o.C + c];
      out[c] = v;
    }
  }
}

using Function = void (*)(const FewRows&, int64_t, int64_t);

template <int... sizes>
void choose(int64_t N, Function* functions, std::integer_sequence<int, sizes...>) {
  static constexpr Function kForward[] = {&forward<sizes + 1>...};
  static constexpr Function kBackwardData[] = {&backward_data<sizes + 1>...};
  static constexpr Function kBackwardWeight[] = {&backward_weight<sizes + 1>...};
  functions[0] = kForward[N - 1];
  functions[1] = kBackwardData[N - 1];
  functions[2] = kBackwardWeight[N - 1];
}

void few_rows_functions(int64_t N, Function* functions) {
  choose(N, functions, std::make_integer_sequence<int, static_cast<int>(kFewRows)>());
}

}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(few_rows_functions);

namespace {

struct Functions {
  void (*each[3])(const FewRows&, int64_t, int64_t);
  explicit Functions(int64_t N) { HWY_DYNAMIC_DISPATCH(few_rows_functions)(N, each); }
};

/// Below this many bytes a task costs more to hand out than to do.
constexpr int64_t kTaskBytes = 1 << 16;

int64_t rows_of_weights(const LinearShape& shape) {
  return std::max<int64_t>(2, (kTaskBytes / (4 * shape.C) + 1) / 2 * 2);
}

}  // namespace

void linear_forward_few_rows(const float* x, const float* w, const float* b, float* y, const LinearShape& shape,
                             Activation activation, Context& context) {
  const Functions functions(shape.N);
  context.threads->parallel_for(shape.K, rows_of_weights(shape), [&](int64_t begin, int64_t end) {
    functions.each[0](FewRows{x, w, y, b, shape.C, shape.K, false}, begin, end);
    if (activation == Activation::none) return;
    const float slope = activation == Activation::leaky_relu ? kLeakySlope : 0.0f;
    for (int64_t n = 0; n < shape.N; ++n) {
      for (float* v = y + n * shape.K + begin; v < y + n * shape.K + end; ++v) {
        if (*v < 0.0f) *v = slope == 0.0f ? 0.0f : *v * slope;  // −∞ · 0 would be NaN
      }
    }
  });
}

void linear_backward_data_few_rows(const float* dy, const float* w, float* dx, const LinearShape& shape,
                                   Context& context) {
  constexpr int64_t kStrip = 512;  // columns: 2 KB of each row of w
  const Functions functions(shape.N);
  context.threads->run((shape.C + kStrip - 1) / kStrip, [&](int64_t strip) {
    functions.each[1](FewRows{dy, w, dx, nullptr, shape.C, shape.K, false}, strip * kStrip,
                      std::min(shape.C, (strip + 1) * kStrip));
  });
}

void linear_backward_weight_few_rows(const float* x, const float* dy, float* dw, const LinearShape& shape,
                                     Accumulate accumulate, Context& context) {
  const Functions functions(shape.N);
  context.threads->parallel_for(shape.K, rows_of_weights(shape), [&](int64_t begin, int64_t end) {
    functions.each[2](FewRows{x, dy, dw, nullptr, shape.C, shape.K, accumulate == Accumulate::yes}, begin, end);
  });
}

}  // namespace striate::cpu
#endif  // HWY_ONCE
