#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/context.h"

namespace striate {

/// x [rows, C]: every pixel of every image is a row.
struct BatchNormShape {
  int64_t rows = 0, C = 0;
  float epsilon = 1e-5f;
  float momentum = 0.1f;  ///< running = (1 − momentum)·running + momentum·batch

  int64_t size() const { return rows * C; }
  /// Throws ShapeError unless rows ≥ 0, C > 0, epsilon > 0 and 0 ≤ momentum ≤ 1.
  void check() const;
};

// Ioffe & Szegedy 2015, algorithms 1 and 2.
//
// forward_train:  mean[c], inv_std[c] = 1/√(var + ε) of the batch (biased variance) → y = gamma·(x − mean)·inv_std +
// beta;
//                 the running statistics move, with the unbiased variance as PyTorch's do. Needs rows ≥ 2 (ShapeError).
// forward_eval:   y from the running statistics, which stay; inv_std[c] = 1/√(running_var + ε) where it is not null.
// backward:       from the mean and inv_std the forward used. With batch_statistics = true they depend on x (training),
//                 with false they are constants. dx overwritten; dgamma, dbeta as `accumulate` says; each may be null.
// y may not alias x.
// T is double (reference only), float or bfloat16. bfloat16 is storage: sums and functions are float's (the reference's
// double's), and a value is rounded where it is stored.
namespace reference {
template <typename T>
void batch_norm_forward_train(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta, T* y, Parameter<T>* mean,
                              Parameter<T>* inv_std, Parameter<T>* running_mean, Parameter<T>* running_var,
                              const BatchNormShape& shape, Context& context);
template <typename T>
void batch_norm_forward_eval(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta,
                             const Parameter<T>* running_mean, const Parameter<T>* running_var, T* y,
                             Parameter<T>* inv_std, const BatchNormShape& shape, Context& context);
template <typename T>
void batch_norm_backward(const T* x, const T* dy, const Parameter<T>* gamma, const Parameter<T>* mean,
                         const Parameter<T>* inv_std, T* dx, Parameter<T>* dgamma, Parameter<T>* dbeta,
                         const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate, Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void batch_norm_forward_train(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta, T* y, Parameter<T>* mean,
                              Parameter<T>* inv_std, Parameter<T>* running_mean, Parameter<T>* running_var,
                              const BatchNormShape& shape, Context& context);
template <typename T>
void batch_norm_forward_eval(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta,
                             const Parameter<T>* running_mean, const Parameter<T>* running_var, T* y,
                             Parameter<T>* inv_std, const BatchNormShape& shape, Context& context);
template <typename T>
void batch_norm_backward(const T* x, const T* dy, const Parameter<T>* gamma, const Parameter<T>* mean,
                         const Parameter<T>* inv_std, T* dx, Parameter<T>* dgamma, Parameter<T>* dbeta,
                         const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate, Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void batch_norm_forward_train(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta, T* y, Parameter<T>* mean,
                              Parameter<T>* inv_std, Parameter<T>* running_mean, Parameter<T>* running_var,
                              const BatchNormShape& shape, Context& context);
template <typename T>
void batch_norm_forward_eval(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta,
                             const Parameter<T>* running_mean, const Parameter<T>* running_var, T* y,
                             Parameter<T>* inv_std, const BatchNormShape& shape, Context& context);
template <typename T>
void batch_norm_backward(const T* x, const T* dy, const Parameter<T>* gamma, const Parameter<T>* mean,
                         const Parameter<T>* inv_std, T* dx, Parameter<T>* dgamma, Parameter<T>* dbeta,
                         const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate, Context& context);
}  // namespace cuda

}  // namespace striate
