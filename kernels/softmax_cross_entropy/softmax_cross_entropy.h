#pragma once

#include <cstdint>

#include "kernels/context.h"

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
// forward:   log_sum_exp[n] = log Σ_c exp(logit), sample_loss[n] = −Σ_c t_c·log p_c, rank[n] = the number of classes
// that
//            come before the true one when sorted by logit (equal logits: the lower class first; a NaN among the row's
//            logits gives `classes`): a sample counts for top-k accuracy when rank < min(k, classes). *loss = the mean
//            of sample_loss, 0 for an empty batch. `loss` may be null. Every output is overwritten.
// backward:  dlogits = (p − t)·(*dloss) / N. Overwritten; may not alias logits.
// Labels must lie in [0, classes): host devices throw ShapeError naming the sample and the label.
namespace reference {
template <typename T>
void softmax_forward(const T* logits, T* probabilities, int64_t N, int64_t classes, Context& context);
template <typename T>
void softmax_cross_entropy_forward(const T* logits, const int32_t* labels, T* loss, T* sample_loss, T* log_sum_exp,
                                   int32_t* rank, const SoftmaxCrossEntropyShape& shape, Context& context);
template <typename T>
void softmax_cross_entropy_backward(const T* logits, const int32_t* labels, const T* log_sum_exp, const T* dloss,
                                    T* dlogits, const SoftmaxCrossEntropyShape& shape, Context& context);
}  // namespace reference

namespace cpu {
void softmax_forward(const float* logits, float* probabilities, int64_t N, int64_t classes, Context& context);
void softmax_cross_entropy_forward(const float* logits, const int32_t* labels, float* loss, float* sample_loss,
                                   float* log_sum_exp, int32_t* rank, const SoftmaxCrossEntropyShape& shape,
                                   Context& context);
void softmax_cross_entropy_backward(const float* logits, const int32_t* labels, const float* log_sum_exp,
                                    const float* dloss, float* dlogits, const SoftmaxCrossEntropyShape& shape,
                                    Context& context);
}  // namespace cpu

}  // namespace striate
