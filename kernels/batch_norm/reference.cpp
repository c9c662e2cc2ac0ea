// Two passes a channel, in double: the mean, then the deviations from it.
#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/check.h"
#include "kernels/reference_values.h"

namespace striate::reference {

template <typename T>
void batch_norm_forward_train(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta, T* y, Parameter<T>* mean,
                              Parameter<T>* inv_std, Parameter<T>* running_mean, Parameter<T>* running_var,
                              const BatchNormShape& shape, Context&) {
  using P = Parameter<T>;
  check_training(shape);
  const auto rows = static_cast<double>(shape.rows);
  const double momentum = shape.momentum;
  for (int64_t c = 0; c < shape.C; ++c) {
    double sum = 0.0;
    for (int64_t i = c; i < shape.size(); i += shape.C) sum += value_of(x[i]);
    const double m = sum / rows;
    double squares = 0.0;
    for (int64_t i = c; i < shape.size(); i += shape.C) squares += (value_of(x[i]) - m) * (value_of(x[i]) - m);
    const double inverse = 1.0 / std::sqrt(squares / rows + double{shape.epsilon});
    for (int64_t i = c; i < shape.size(); i += shape.C) {
      y[i] = rounded_to<T>(gamma[c] * (value_of(x[i]) - m) * inverse + beta[c]);
    }
    mean[c] = static_cast<P>(m);
    inv_std[c] = static_cast<P>(inverse);
    running_mean[c] = static_cast<P>((1.0 - momentum) * running_mean[c] + momentum * m);
    running_var[c] = static_cast<P>((1.0 - momentum) * running_var[c] + momentum * squares / (rows - 1.0));
  }
}

template <typename T>
void batch_norm_forward_eval(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta,
                             const Parameter<T>* running_mean, const Parameter<T>* running_var, T* y,
                             Parameter<T>* inv_std, const BatchNormShape& shape, Context&) {
  shape.check();
  for (int64_t c = 0; c < shape.C; ++c) {
    const double inverse = 1.0 / std::sqrt(double{running_var[c]} + double{shape.epsilon});
    if (inv_std != nullptr) inv_std[c] = static_cast<Parameter<T>>(inverse);
    for (int64_t i = c; i < shape.size(); i += shape.C) {
      y[i] = rounded_to<T>(gamma[c] * (value_of(x[i]) - double{running_mean[c]}) * inverse + beta[c]);
    }
  }
}

template <typename T>
void batch_norm_backward(const T* x, const T* dy, const Parameter<T>* gamma, const Parameter<T>* mean,
                         const Parameter<T>* inv_std, T* dx, Parameter<T>* dgamma, Parameter<T>* dbeta,
                         const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate, Context&) {
  using P = Parameter<T>;
  shape.check();
  for (int64_t c = 0; c < shape.C; ++c) {
    const auto normalized = [&](int64_t i) { return (value_of(x[i]) - double{mean[c]}) * double{inv_std[c]}; };
    double sum_dy = 0.0, sum_dy_x = 0.0;
    for (int64_t i = c; i < shape.size(); i += shape.C) {
      sum_dy += value_of(dy[i]);
      sum_dy_x += value_of(dy[i]) * normalized(i);
    }
    const bool add = accumulate == Accumulate::yes;
    if (dgamma != nullptr) dgamma[c] = static_cast<P>(sum_dy_x + (add ? double{dgamma[c]} : 0.0));
    if (dbeta != nullptr) dbeta[c] = static_cast<P>(sum_dy + (add ? double{dbeta[c]} : 0.0));
    if (dx == nullptr) continue;
    const auto rows = static_cast<double>(shape.rows);
    for (int64_t i = c; i < shape.size(); i += shape.C) {
      const double through_statistics = batch_statistics ? (sum_dy + normalized(i) * sum_dy_x) / rows : 0.0;
      dx[i] = rounded_to<T>(double{gamma[c]} * inv_std[c] * (value_of(dy[i]) - through_statistics));
    }
  }
}

#define STRIATE_INSTANTIATE(T)                                                                                       \
  template void batch_norm_forward_train<T>(const T*, const Parameter<T>*, const Parameter<T>*, T*, Parameter<T>*,   \
                                            Parameter<T>*, Parameter<T>*, Parameter<T>*, const BatchNormShape&,      \
                                            Context&);                                                               \
  template void batch_norm_forward_eval<T>(const T*, const Parameter<T>*, const Parameter<T>*, const Parameter<T>*,  \
                                           const Parameter<T>*, T*, Parameter<T>*, const BatchNormShape&, Context&); \
  template void batch_norm_backward<T>(const T*, const T*, const Parameter<T>*, const Parameter<T>*,                 \
                                       const Parameter<T>*, T*, Parameter<T>*, Parameter<T>*, const BatchNormShape&, \
                                       bool, Accumulate, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
