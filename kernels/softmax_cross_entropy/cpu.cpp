// A row of logits at a time, shifted by its maximum: no overflow, and no cancellation in the loss. Bound by one
// exponential a logit.
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/softmax_cross_entropy/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax_cross_entropy/cpu.cpp"
#include "kernels/simd.h"
// After simd.h, which decides the targets.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <typename Fn>
void for_each_row(int64_t N, int64_t classes, Context& context, Fn&& fn) {
  // About 10 µs of exponentials.
  const int64_t grain = std::max<int64_t>(1, 8192 / classes);
  context.threads->parallel_for(N, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t n = begin; n < end; ++n) fn(n);
  });
}

// The greatest logit; NaN where any is, or where they are infinite, so that all that follows is NaN too.
template <typename T>
HWY_INLINE float max_of(const T* row, int64_t classes) {
  const Floats d;
  const auto lowest = hn::Set(d, -kInfinity);
  auto max = lowest;
  bool nan = false;
  for_each_vector(0, classes, [&](int64_t c, auto part) HWY_ATTR {
    const auto v = part.load_or(row + c, lowest);
    nan = nan || !hn::AllFalse(d, hn::IsNaN(v));
    max = hn::Max(max, v);
  });
  const float found = hn::GetLane(hn::MaxOfLanes(d, max));
  return nan || !std::isfinite(found) ? kNan : found;
}

// Σ exp(x − max), the terms stored in `terms` where it is not null.
template <typename T>
HWY_INLINE float exponentials(const T* row, int64_t classes, float max, float* terms) {
  if (std::isnan(max)) {  // Highway's Exp of NaN is not NaN
    if (terms != nullptr) std::fill(terms, terms + classes, kNan);
    return kNan;
  }
  const Floats d;
  const auto shift = hn::Set(d, max), lowest = hn::Set(d, -kInfinity);
  auto sum = hn::Zero(d);
  for_each_vector(0, classes, [&](int64_t c, auto part) HWY_ATTR {
    const auto term = hn::Exp(d, hn::Sub(part.load_or(row + c, lowest), shift));
    sum = hn::Add(sum, term);
    if (terms != nullptr) part.store(term, terms + c);
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// Σ (x − max)
template <typename T>
HWY_INLINE float sum_of_shifted(const T* row, int64_t classes, float max) {
  const Floats d;
  const auto shift = hn::Set(d, max);
  auto sum = hn::Zero(d);
  for_each_vector(0, classes, [&](int64_t c, auto part) HWY_ATTR {
    sum = hn::Add(sum, hn::Sub(part.load_or(row + c, shift), shift));
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

template <typename T>
HWY_INLINE int32_t rank_of(const T* row, int64_t classes, int32_t label) {
  const Floats d;
  const auto own = hn::Set(d, to_float(row[label])), lowest = hn::Set(d, -kInfinity);
  size_t before = 0;
  bool nan = false;
  for_each_vector(0, classes, [&](int64_t c, auto part) HWY_ATTR {
    const auto v = part.load_or(row + c, lowest);
    nan = nan || !hn::AllFalse(d, hn::IsNaN(v));
    before += hn::CountTrue(d, hn::Gt(v, own));
  });
  if (nan) return static_cast<int32_t>(classes);
  for_each_vector(0, label, [&](int64_t c, auto part) HWY_ATTR {
    // Lanes beyond the label are NaN: equal to nothing.
    before += hn::CountTrue(d, hn::Eq(part.load_or(row + c, hn::Set(d, kNan)), own));
  });
  return static_cast<int32_t>(before);
}

template <typename T>
void Softmax(const T* logits, T* probabilities, int64_t N, int64_t classes, Context& context) {
  for_each_row(N, classes, context, [&](int64_t n) HWY_ATTR {
    const T* row = logits + n * classes;
    T* out = probabilities + n * classes;
    const float max = max_of(row, classes);
    if constexpr (std::is_same_v<T, float>) {
      const auto factor = hn::Set(Floats(), 1.0f / exponentials(row, classes, max, out));
      for_each_vector(0, classes,
                      [&](int64_t c, auto part) HWY_ATTR { part.store(hn::Mul(part.load(out + c), factor), out + c); });
    } else {  // a second exponential, not one that was rounded on the way
      if (std::isnan(max)) return std::fill(out, out + classes, stored_as<T>(kNan));
      const auto factor = hn::Set(Floats(), 1.0f / exponentials(row, classes, max, nullptr));
      const auto shift = hn::Set(Floats(), max);
      for_each_vector(0, classes, [&](int64_t c, auto part) HWY_ATTR {
        part.store(hn::Mul(hn::Exp(Floats(), hn::Sub(part.load(row + c), shift)), factor), out + c);
      });
    }
  });
}

template <typename T>
void LossForward(const T* logits, const int32_t* labels, float* sample_loss, float* row_max, float* log_sum,
                 int32_t* rank, const SoftmaxCrossEntropyShape& shape, Context& context) {
  const int64_t classes = shape.classes;
  for_each_row(shape.N, classes, context, [&](int64_t n) HWY_ATTR {
    const T* row = logits + n * classes;
    const float max = max_of(row, classes);
    const float log_of_sum = std::log(exponentials(row, classes, max, nullptr));
    float loss = (1.0f - shape.smoothing) * (log_of_sum - (to_float(row[labels[n]]) - max));
    if (shape.smoothing > 0.0f) {
      loss += shape.smoothing * (log_of_sum - sum_of_shifted(row, classes, max) / static_cast<float>(classes));
    }
    sample_loss[n] = loss;
    row_max[n] = max;
    log_sum[n] = log_of_sum;
    rank[n] = rank_of(row, classes, labels[n]);
  });
}

template <typename T>
void LossBackward(const T* logits, const int32_t* labels, const float* row_max, const float* log_sum, float dloss,
                  T* dlogits, const SoftmaxCrossEntropyShape& shape, Context& context) {
  const Floats d;
  const int64_t classes = shape.classes;
  const float scale = dloss / static_cast<float>(shape.N);
  const auto factor = hn::Set(d, scale);
  const auto uniform = hn::Set(d, shape.smoothing / static_cast<float>(classes));
  for_each_row(shape.N, classes, context, [&](int64_t n) HWY_ATTR {
    const T* row = logits + n * classes;
    T* out = dlogits + n * classes;
    if (std::isnan(log_sum[n])) {  // Highway's Exp of NaN is not NaN
      std::fill(out, out + classes, stored_as<T>(kNan));
      return;
    }
    const auto max = hn::Set(d, row_max[n]), log_of_sum = hn::Set(d, log_sum[n]);
    const auto through_sum = [&](FloatVector x) HWY_ATTR {
      const auto p = hn::Exp(d, hn::Sub(hn::Sub(x, max), log_of_sum));
      return hn::Mul(hn::Sub(p, uniform), factor);
    };
    for_each_vector(0, classes,
                    [&](int64_t c, auto part) HWY_ATTR { part.store(through_sum(part.load(row + c)), out + c); });
    const float own = hn::GetLane(through_sum(hn::Set(d, to_float(row[labels[n]]))));
    out[labels[n]] = stored_as<T>(own - (1.0f - shape.smoothing) * scale);
  });
}

STRIATE_STORAGE_TYPES(Softmax);
STRIATE_STORAGE_TYPES(LossForward);
STRIATE_STORAGE_TYPES(LossBackward);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(Softmax);
STRIATE_EXPORT(LossForward);
STRIATE_EXPORT(LossBackward);

template <typename T>
void softmax_forward(const T* logits, T* probabilities, int64_t N, int64_t classes, Context& context) {
  SoftmaxCrossEntropyShape{N, classes}.check();
  STRIATE_FOR_TYPE(T, Softmax)(logits, probabilities, N, classes, context);
}

template <typename T>
void softmax_cross_entropy_forward(const T* logits, const int32_t* labels, Parameter<T>* loss,
                                   Parameter<T>* sample_loss, Parameter<T>* row_max, Parameter<T>* log_sum,
                                   int32_t* rank, StepResult* result, const SoftmaxCrossEntropyShape& shape,
                                   Context& context) {
  shape.check();
  check_labels(labels, shape);
  STRIATE_FOR_TYPE(T, LossForward)(logits, labels, sample_loss, row_max, log_sum, rank, shape, context);
  double total = 0.0;
  for (int64_t n = 0; n < shape.N; ++n) total += sample_loss[n];
  const float mean = shape.N > 0 ? static_cast<float>(total / static_cast<double>(shape.N)) : 0.0f;
  if (loss != nullptr) *loss = mean;
  if (result != nullptr) *result = {mean, static_cast<int32_t>(std::count(rank, rank + shape.N, 0))};
}

template <typename T>
void softmax_cross_entropy_backward(const T* logits, const int32_t* labels, const Parameter<T>* row_max,
                                    const Parameter<T>* log_sum, const Parameter<T>* dloss, T* dlogits,
                                    const SoftmaxCrossEntropyShape& shape, Context& context) {
  shape.check();
  check_labels(labels, shape);
  if (shape.N == 0) return;
  STRIATE_FOR_TYPE(T, LossBackward)(logits, labels, row_max, log_sum, *dloss, dlogits, shape, context);
}

#define STRIATE_INSTANTIATE(T)                                                                                        \
  template void softmax_forward<T>(const T*, T*, int64_t, int64_t, Context&);                                         \
  template void softmax_cross_entropy_forward<T>(const T*, const int32_t*, Parameter<T>*, Parameter<T>*,              \
                                                 Parameter<T>*, Parameter<T>*, int32_t*, StepResult*,                 \
                                                 const SoftmaxCrossEntropyShape&, Context&);                          \
  template void softmax_cross_entropy_backward<T>(const T*, const int32_t*, const Parameter<T>*, const Parameter<T>*, \
                                                  const Parameter<T>*, T*, const SoftmaxCrossEntropyShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
