// One row at a time, in double, shifted by the row's maximum.
#include <algorithm>
#include <cmath>

#include "kernels/reference_values.h"
#include "kernels/softmax_cross_entropy/check.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace striate::reference {

namespace {
struct RowSum {
  double max;  // NaN where any logit is
  double sum;  // Σ exp(logit − max)
};

template <typename T>
RowSum row_sum(const T* row, int64_t classes) {
  double max = value_of(row[0]);
  for (int64_t c = 1; c < classes; ++c) {
    if (std::isnan(value_of(row[c])) || value_of(row[c]) > max) max = value_of(row[c]);
  }
  double sum = 0.0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(value_of(row[c]) - max);
  return {max, sum};
}

template <typename T>
int32_t rank_of(const T* row, int32_t label, int64_t classes) {
  int32_t rank = 0;
  const double own = value_of(row[label]);
  for (int64_t c = 0; c < classes; ++c) {
    const double other = value_of(row[c]);
    if (std::isnan(other)) return static_cast<int32_t>(classes);
    if (other > own || (other == own && c < label)) ++rank;
  }
  return rank;
}
}  // namespace

template <typename T>
void softmax_forward(const T* logits, T* probabilities, int64_t N, int64_t classes, Context&) {
  SoftmaxCrossEntropyShape{N, classes}.check();
  for (int64_t n = 0; n < N; ++n) {
    const T* row = logits + n * classes;
    const auto [max, sum] = row_sum(row, classes);
    for (int64_t c = 0; c < classes; ++c) {
      probabilities[n * classes + c] = rounded_to<T>(std::exp(value_of(row[c]) - max) / sum);
    }
  }
}

template <typename T>
void softmax_cross_entropy_forward(const T* logits, const int32_t* labels, Parameter<T>* loss,
                                   Parameter<T>* sample_loss, Parameter<T>* row_max, Parameter<T>* log_sum,
                                   int32_t* rank, StepResult* result, const SoftmaxCrossEntropyShape& shape, Context&) {
  shape.check();
  check_labels(labels, shape);
  const double smoothing = shape.smoothing;
  double total = 0.0;
  for (int64_t n = 0; n < shape.N; ++n) {
    const T* row = logits + n * shape.classes;
    const auto [max, sum] = row_sum(row, shape.classes);
    const double log_of_sum = std::log(sum);
    double cross_entropy = (1.0 - smoothing) * (log_of_sum - (value_of(row[labels[n]]) - max));
    if (smoothing > 0.0) {
      double uniform = 0.0;
      for (int64_t c = 0; c < shape.classes; ++c) uniform += log_of_sum - (value_of(row[c]) - max);
      cross_entropy += smoothing * uniform / static_cast<double>(shape.classes);
    }
    sample_loss[n] = static_cast<Parameter<T>>(cross_entropy);
    row_max[n] = static_cast<Parameter<T>>(max);
    log_sum[n] = static_cast<Parameter<T>>(log_of_sum);
    rank[n] = rank_of(row, labels[n], shape.classes);
    total += cross_entropy;
  }
  const double mean = shape.N > 0 ? total / static_cast<double>(shape.N) : 0.0;
  if (loss != nullptr) *loss = static_cast<Parameter<T>>(mean);
  if (result != nullptr) {
    *result = {static_cast<float>(mean), static_cast<int32_t>(std::count(rank, rank + shape.N, 0))};
  }
}

template <typename T>
void softmax_cross_entropy_backward(const T* logits, const int32_t* labels, const Parameter<T>* row_max,
                                    const Parameter<T>* log_sum, const Parameter<T>* dloss, T* dlogits,
                                    const SoftmaxCrossEntropyShape& shape, Context&) {
  shape.check();
  check_labels(labels, shape);
  const double smoothing = shape.smoothing;
  for (int64_t n = 0; n < shape.N; ++n) {
    for (int64_t c = 0; c < shape.classes; ++c) {
      const int64_t i = n * shape.classes + c;
      const double p = std::exp((value_of(logits[i]) - row_max[n]) - log_sum[n]);
      const double target = (c == labels[n] ? 1.0 - smoothing : 0.0) + smoothing / static_cast<double>(shape.classes);
      dlogits[i] = rounded_to<T>((p - target) * *dloss / static_cast<double>(shape.N));
    }
  }
}

#define STRIATE_INSTANTIATE(T)                                                                                        \
  template void softmax_forward(const T*, T*, int64_t, int64_t, Context&);                                            \
  template void softmax_cross_entropy_forward<T>(const T*, const int32_t*, Parameter<T>*, Parameter<T>*,              \
                                                 Parameter<T>*, Parameter<T>*, int32_t*, StepResult*,                 \
                                                 const SoftmaxCrossEntropyShape&, Context&);                          \
  template void softmax_cross_entropy_backward<T>(const T*, const int32_t*, const Parameter<T>*, const Parameter<T>*, \
                                                  const Parameter<T>*, T*, const SoftmaxCrossEntropyShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
