#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/step_result/step_result.h"

namespace striate {

/// logits [N, classes]; `smoothing` ε mixes the one-hot target with the uniform one: t = (1 − ε)·onehot + ε/classes
/// (Szegedy et al. 2016, §7).
struct SoftmaxCrossEntropyShape {
  int64_t N = 0, classes = 0;
  float smoothing = 0.0f;

  /// Throws ShapeError unless N ≥ 0, classes > 0 and 0 ≤ smoothing < 1.
  void check() const;
};

// softmax_forward:  probabilities[n,c] = exp(x − max) / Σ exp(x − max). May be in place.
// forward:   row_max[n] = max_c logit, log_sum[n] = log Σ_c exp(logit − row_max), kept apart because their sum,
// rounded,
//            would lose what tells logits of 10⁴ from each other. log_sum is NaN where the row has a NaN or a +∞, or
//            nothing but −∞; row_max is then unspecified, and all that follows from the row is NaN.
//            sample_loss[n] = −Σ_c t_c·log p_c, log p_c = (logit − row_max) − log_sum.
//            rank[n] = the number of classes that come before the true one when sorted by logit (equal logits: the
//            lower class first; a NaN among the row's logits gives `classes`): a sample counts for top-k accuracy when
//            rank < min(k, classes).
//            *loss = the mean of sample_loss, 0 for an empty batch; `loss` may be null.
//            *result = {the mean, the number of zeros in rank}; `result` may be null. Every output is overwritten.
// backward:  dlogits = (p − t)·(*dloss) / N, with p from row_max and log_sum. Overwritten; may not alias logits.
// Labels must lie in [0, classes). For one that does not, reference and cpu throw ShapeError naming the sample and the
// label; cuda, which cannot, reads nothing by it and gives that sample the loss NaN (so that the mean shows it), the
// rank `classes`, and a gradient of NaN.
// T is double (reference only), float or bfloat16. bfloat16 is storage: sums and functions are float's (the reference's
// double's), and a value is rounded where it is stored.
namespace reference {
template <typename T>
void softmax_forward(const T* logits, T* probabilities, int64_t N, int64_t classes, Context& context);
template <typename T>
void softmax_cross_entropy_forward(const T* logits, const int32_t* labels, Parameter<T>* loss,
                                   Parameter<T>* sample_loss, Parameter<T>* row_max, Parameter<T>* log_sum,
                                   int32_t* rank, StepResult* result, const SoftmaxCrossEntropyShape& shape,
                                   Context& context);
template <typename T>
void softmax_cross_entropy_backward(const T* logits, const int32_t* labels, const Parameter<T>* row_max,
                                    const Parameter<T>* log_sum, const Parameter<T>* dloss, T* dlogits,
                                    const SoftmaxCrossEntropyShape& shape, Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void softmax_forward(const T* logits, T* probabilities, int64_t N, int64_t classes, Context& context);
template <typename T>
void softmax_cross_entropy_forward(const T* logits, const int32_t* labels, Parameter<T>* loss,
                                   Parameter<T>* sample_loss, Parameter<T>* row_max, Parameter<T>* log_sum,
                                   int32_t* rank, StepResult* result, const SoftmaxCrossEntropyShape& shape,
                                   Context& context);
template <typename T>
void softmax_cross_entropy_backward(const T* logits, const int32_t* labels, const Parameter<T>* row_max,
                                    const Parameter<T>* log_sum, const Parameter<T>* dloss, T* dlogits,
                                    const SoftmaxCrossEntropyShape& shape, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void softmax_forward(const T* logits, T* probabilities, int64_t N, int64_t classes, Context& context);
template <typename T>
void softmax_cross_entropy_forward(const T* logits, const int32_t* labels, Parameter<T>* loss,
                                   Parameter<T>* sample_loss, Parameter<T>* row_max, Parameter<T>* log_sum,
                                   int32_t* rank, StepResult* result, const SoftmaxCrossEntropyShape& shape,
                                   Context& context);
template <typename T>
void softmax_cross_entropy_backward(const T* logits, const int32_t* labels, const Parameter<T>* row_max,
                                    const Parameter<T>* log_sum, const Parameter<T>* dloss, T* dlogits,
                                    const SoftmaxCrossEntropyShape& shape, Context& context);
}  // namespace cuda

}  // namespace striate
