// A linear layer's forward for a handful of rows: every weight is read once, in the order of memory, and used for all
// rows while it is in a register. A few rows of w at a time make as many dot products for each of the N, each over
// lanes that are summed at the end, in an order that depends on the shape alone. Bound by memory.
#include "kernels/linear/few_rows.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/few_rows.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

using Vector = FloatVector;
constexpr Floats kTag;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(kTag));

HWY_INLINE float value_of(float v) { return v; }
HWY_INLINE float value_of(bfloat16 v) { return to_float(v); }

template <typename T, int N>
void forward(const FewRowsForward<T>& o, int64_t begin, int64_t end) {
  // For one row of x nothing but the reading counts: eight rows of w at a time are 5% faster than two.
  constexpr int kOutputs = N == 1 ? 8 : 2;
  for (int64_t k = begin; k < end; k += kOutputs) {
    const T* w[kOutputs];
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
      for (int j = 0; j < kOutputs; ++j) row[j] = WholeVector().load(w[j] + c);
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
        for (int64_t i = c; i < o.C; ++i) total += o.x[n * o.C + i] * value_of(w[j][i]);
        o.y[n * o.K + output[j]] = o.bias ? total + o.bias[output[j]] : total;
      }
    }
  }
}

template <typename T>
using Forward = void (*)(const FewRowsForward<T>&, int64_t, int64_t);

template <typename T, int... sizes>
Forward<T> choose(int64_t N, std::integer_sequence<int, sizes...>) {
  static constexpr Forward<T> kForward[] = {&forward<T, sizes + 1>...};
  return kForward[N - 1];
}

constexpr auto kSizes = std::make_integer_sequence<int, static_cast<int>(kFewRows)>();
Forward<float> few_rows_of_floats(int64_t N) { return choose<float>(N, kSizes); }
Forward<bfloat16> few_rows_of_bfloat16(int64_t N) { return choose<bfloat16>(N, kSizes); }

void widen(const bfloat16* from, int64_t n, float* to) {
  for_each_vector(0, n, [&](int64_t i, auto part) HWY_ATTR { part.store(part.load(from + i), to + i); });
}

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(few_rows_of_floats);
HWY_EXPORT(few_rows_of_bfloat16);
HWY_EXPORT(widen);

namespace {

float activated(float v, Activation activation) {
  if (activation == Activation::none || !(v < 0.0f)) return v;
  return activation == Activation::leaky_relu ? v * kLeakySlope : 0.0f;  // −∞ · 0 would be NaN
}

}  // namespace

void widen_bfloat16(const bfloat16* from, int64_t n, float* to) { HWY_DYNAMIC_DISPATCH(widen)(from, n, to); }

template <typename T>
void linear_forward_few_rows(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                             Activation activation, Context& context) {
  constexpr int64_t kTaskBytes = 1 << 16;  // below it a task costs more to hand out than to do
  constexpr bool kFloats = std::is_same_v<T, float>;
  const int64_t bytes = static_cast<int64_t>(sizeof(T)) * shape.C;
  const int64_t grain = std::max<int64_t>(2, (kTaskBytes / bytes + 1) / 2 * 2);
  FewRowsForward<T> operands{nullptr, w, nullptr, b, shape.C, shape.K};
  void (*forward)(const FewRowsForward<T>&, int64_t, int64_t) = nullptr;
  if constexpr (kFloats) {
    operands.x = x;
    operands.y = y;
    forward = HWY_DYNAMIC_DISPATCH(few_rows_of_floats)(shape.N);
  } else {
    float* const floats = context.workspace->get<float>(shape.N * (shape.C + shape.K));
    widen_bfloat16(x, shape.N * shape.C, floats);
    operands.x = floats;
    operands.y = floats + shape.N * shape.C;
    forward = HWY_DYNAMIC_DISPATCH(few_rows_of_bfloat16)(shape.N);
  }
  context.threads->parallel_for(shape.K, grain, [&](int64_t begin, int64_t end) {
    forward(operands, begin, end);
    if (kFloats && activation == Activation::none) return;
    for (int64_t n = 0; n < shape.N; ++n) {
      for (int64_t i = n * shape.K + begin; i < n * shape.K + end; ++i) {
        const float v = activated(operands.y[i], activation);
        if constexpr (kFloats) {
          y[i] = v;
        } else {
          y[i] = to_bfloat16(v);
        }
      }
    }
  });
}

template void linear_forward_few_rows(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                                      Context&);
template void linear_forward_few_rows(const bfloat16*, const bfloat16*, const float*, bfloat16*, const LinearShape&,
                                      Activation, Context&);

}  // namespace striate::cpu
#endif  // HWY_ONCE
