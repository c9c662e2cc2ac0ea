// Two passes a channel, in double: the mean, then the deviations from it.
#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/check.h"

namespace striate::reference {

template <typename T>
void batch_norm_forward_train(const T* x, const T* gamma, const T* beta, T* y, T* mean, T* inv_std, T* running_mean,
                              T* running_var, const BatchNormShape& shape, Context&) {
  check_training(shape);
  const auto rows = static_cast<double>(shape.rows);
  const double momentum = shape.momentum;
  for (int64_t c = 0; c < shape.C; ++c) {
    double sum = 0.0;
    for (int64_t i = c; i < shape.size(); i += shape.C) sum += x[i];
    const double m = sum / rows;
    double squares = 0.0;
    for (int64_t i = c; i < shape.size(); i += shape.C) squares += (x[i] - m) * (x[i] - m);
    const double inverse = 1.0 / std::sqrt(squares / rows + double{shape.epsilon});
    for (int64_t i = c; i < shape.size(); i += shape.C)
      y[i] = static_cast<T>(gamma[c] * (x[i] - m) * inverse + beta[c]);
    mean[c] = static_cast<T>(m);
    inv_std[c] = static_cast<T>(inverse);
    running_mean[c] = static_cast<T>((1.0 - momentum) * running_mean[c] + momentum * m);
    running_var[c] = static_cast<T>((1.0 - momentum) * running_var[c] + momentum * squares / (rows - 1.0));
  }
}

template <typename T>
void batch_norm_forward_eval(const T* x, const T* gamma, const T* beta, const T* running_mean, const T* running_var,
                             T* y, T* inv_std, const BatchNormShape& shape, Context&) {
  shape.check();
  for (int64_t c = 0; c < shape.C; ++c) {
    const double inverse = 1.0 / std::sqrt(double{running_var[c]} + double{shape.epsilon});
    if (inv_std != nullptr) inv_std[c] = static_cast<T>(inverse);
    for (int64_t i = c; i < shape.size(); i += shape.C) {
      y[i] = static_cast<T>(gamma[c] * (double{x[i]} - double{running_mean[c]}) * inverse + beta[c]);
    }
  }
}

template <typename T>
void batch_norm_backward(const T* x, const T* dy, const T* gamma, const T* mean, const T* inv_std, T* dx, T* dgamma,
                         T* dbeta, const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate,
                         Context&) {
  shape.check();
  for (int64_t c = 0; c < shape.C; ++c) {
    const auto normalized = [&](int64_t i) { return (double{x[i]} - double{mean[c]}) * double{inv_std[c]}; };
    double sum_dy = 0.0, sum_dy_x = 0.0;
    for (int64_t i = c; i < shape.size(); i += shape.C) {
      sum_dy += dy[i];
      sum_dy_x += dy[i] * normalized(i);
    }
    const bool add = accumulate == Accumulate::yes;
    if (dgamma != nullptr) dgamma[c] = static_cast<T>(sum_dy_x + (add ? double{dgamma[c]} : 0.0));
    if (dbeta != nullptr) dbeta[c] = static_cast<T>(sum_dy + (add ? double{dbeta[c]} : 0.0));
    if (dx == nullptr) continue;
    const auto rows = static_cast<double>(shape.rows);
    for (int64_t i = c; i < shape.size(); i += shape.C) {
      const double through_statistics = batch_statistics ? (sum_dy + normalized(i) * sum_dy_x) / rows : 0.0;
      dx[i] = static_cast<T>(double{gamma[c]} * inv_std[c] * (dy[i] - through_statistics));
    }
  }
}

#define STRIATE_INSTANTIATE(T)                                                                                    \
  template void batch_norm_forward_train(const T*, const T*, const T*, T*, T*, T*, T*, T*, const BatchNormShape&, \
                                         Context&);                                                               \
  template void batch_norm_forward_eval(const T*, const T*, const T*, const T*, const T*, T*, T*,                 \
                                        const BatchNormShape&, Context&);                                         \
  template void batch_norm_backward(const T*, const T*, const T*, const T*, const T*, T*, T*, T*,                 \
                                    const BatchNormShape&, bool, Accumulate, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
