// A linear layer's forward for a handful of rows: every weight is read once, in the order of memory, and used for all
// rows while it is in a register. A few rows of w at a time make as many dot products for each of the N, each over
// lanes that are summed at the end, in an order that depends on the shape alone. Bound by memory.
#include "kernels/linear/few_rows.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/few_rows.cpp"
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
void forward(const FewRowsForward& o, int64_t begin, int64_t end) {
  // For one row of x nothing but the reading counts: eight rows of w at a time are 5% faster than two.
  constexpr int kOutputs = N == 1 ? 8 : 2;
  for (int64_t k = begin; k < end; k += kOutputs) {
    const float* w[kOutputs];
    int64_t output[kOutputs];
    Vector sum[kOutputs][N];
    for (int j = 0; j < kOutputs; ++j) {
      output[j] = std::min(k + j, end - 1);  // the last of a range that is no multiple is computed more than once
      w[j] = o.w + output[j] * o.C;
      for (int n = 0; n < N; ++n) sum[j][n] = hn::Zero(kTag);
    }
    int64_t c = 0;
    for (; c + kLanes <= o.C; c += kLanes) {
      Vector row[kOutputs];
#pragma GCC unroll 8
      for (int j = 0; j < kOutputs; ++j) row[j] = hn::LoadU(kTag, w[j] + c);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        const Vector x = hn::LoadU(kTag, o.x + n * o.C + c);
#pragma GCC unroll 8
        for (int j = 0; j < kOutputs; ++j) sum[j][n] = hn::MulAdd(x, row[j], sum[j][n]);
      }
    }
    for (int j = 0; j < kOutputs; ++j) {
      for (int n = 0; n < N; ++n) {
        float total = hn::GetLane(hn::SumOfLanes(kTag, sum[j][n]));
        for (int64_t i = c; i < o.C; ++i) total += o.x[n * o.C + i] * w[j][i];
        o.y[n * o.K + output[j]] = o.bias ? total + o.bias[output[j]] : total;
      }
    }
  }
}

using Forward = void (*)(const FewRowsForward&, int64_t, int64_t);

template <int... sizes>
Forward choose(int64_t N, std::integer_sequence<int, sizes...>) {
  static constexpr Forward kForward[] = {&forward<sizes + 1>...};
  return kForward[N - 1];
}

Forward few_rows_forward(int64_t N) { return choose(N, std::make_integer_sequence<int, static_cast<int>(kFewRows)>()); }

}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(few_rows_forward);

void linear_forward_few_rows(const float* x, const float* w, const float* b, float* y, const LinearShape& shape,
                             Activation activation, Context& context) {
  constexpr int64_t kTaskBytes = 1 << 16;  // below it a task costs more to hand out than to do
  const int64_t grain = std::max<int64_t>(2, (kTaskBytes / (4 * shape.C) + 1) / 2 * 2);
  const auto forward = HWY_DYNAMIC_DISPATCH(few_rows_forward)(shape.N);
  context.threads->parallel_for(shape.K, grain, [&](int64_t begin, int64_t end) {
    forward({x, w, y, b, shape.C, shape.K}, begin, end);
    if (activation == Activation::none) return;
    const float slope = activation == Activation::leaky_relu ? kLeakySlope : 0.0f;
    for (int64_t n = 0; n < shape.N; ++n) {
      for (float* v = y + n * shape.K + begin; v < y + n * shape.K + end; ++v) {
        if (*v < 0.0f) *v = slope == 0.0f ? 0.0f : *v * slope;  // −∞ · 0 would be NaN
      }
    }
  });
}

}  // namespace striate::cpu
#endif  // HWY_ONCE
