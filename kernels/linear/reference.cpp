// The sums of linear.h written down, with double accumulators. Every output value is one task's alone.
#include "kernels/error.h"
#include "kernels/linear/linear.h"
#include "kernels/reference_values.h"

namespace striate::reference {

namespace {

double activate(double v, Activation activation) {
  if (activation == Activation::relu) return v < 0 ? 0.0 : v;
  if (activation == Activation::leaky_relu) return v < 0 ? v * double{kLeakySlope} : v;
  return v;
}

/// y[n, k] = finish(n, k, its value before it is rounded).
template <typename T, typename Finish>
void forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape, Activation activation,
             Context& context, Finish&& finish) {
  shape.check();
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a linear layer; apply others after it",
                      shape.to_string());
  const int64_t N = shape.N, C = shape.C, K = shape.K;
  context.threads->parallel_for(N * K, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / K, k = i % K;
      double sum = b ? double{b[k]} : 0.0;
      for (int64_t c = 0; c < C; ++c) sum += value_of(x[n * C + c]) * value_of(w[k * C + c]);
      y[i] = rounded_to<T>(finish(n, k, activate(sum, activation)));
    }
  });
}

/// dx[i] = finish(i, its value before it is rounded).
template <typename T, typename Finish>
void backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context, Finish&& finish) {
  shape.check();
  const int64_t N = shape.N, C = shape.C, K = shape.K;
  context.threads->parallel_for(N * C, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / C, c = i % C;
      double sum = 0.0;
      for (int64_t k = 0; k < K; ++k) sum += value_of(dy[n * K + k]) * value_of(w[k * C + c]);
      dx[i] = rounded_to<T>(finish(i, sum));
    }
  });
}

}  // namespace

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context) {
  forward(x, w, b, y, shape, activation, context, [](int64_t, int64_t, double v) { return v; });
}

template <typename T>
void linear_forward_dropout(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                            Activation activation, const DropoutBehind& dropout, Context& context) {
  dropout.shape(shape.N, shape.K).check();
  forward(x, w, b, y, shape, activation, context, [&](int64_t n, int64_t k, double v) {
    const uint64_t row = dropout.state->first_sample + static_cast<uint64_t>(n);
    const uint64_t element = row * static_cast<uint64_t>(shape.K) + static_cast<uint64_t>(k);
    const bool kept = dropout_uniform(*dropout.state, dropout.layer, element) >= dropout.p;
    return kept ? v / (1.0 - double{dropout.p}) : 0.0;
  });
}

template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context) {
  backward_data(dy, w, dx, shape, context, [](int64_t, double v) { return v; });
}

template <typename T>
void linear_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const LinearShape& shape, float p,
                                       Context& context) {
  DropoutShape{shape.N, shape.C, p}.check();
  backward_data(dy, w, dx, shape, context,
                [&](int64_t i, double v) { return value_of(x[i]) <= 0.0 ? 0.0 : v / (1.0 - double{p}); });
}

template <typename T>
void linear_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  const int64_t N = shape.N, C = shape.C, K = shape.K;
  const bool add = accumulate == Accumulate::yes;
  context.threads->parallel_for(K * C, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t k = i / C, c = i % C;
      double sum = 0.0;
      for (int64_t n = 0; n < N; ++n) sum += value_of(dy[n * K + k]) * value_of(x[n * C + c]);
      dw[i] = static_cast<Parameter<T>>(add ? double{dw[i]} + sum : sum);
    }
  });
  if (!db) return;
  for (int64_t k = 0; k < K; ++k) {
    double sum = 0.0;
    for (int64_t n = 0; n < N; ++n) sum += value_of(dy[n * K + k]);
    db[k] = static_cast<Parameter<T>>(add ? double{db[k]} + sum : sum);
  }
}

#define STRIATE_INSTANTIATE(T)                                                                                         \
  template void linear_forward<T>(const T*, const T*, const Parameter<T>*, T*, const LinearShape&, Activation,         \
                                  Context&);                                                                           \
  template void linear_forward_dropout<T>(const T*, const T*, const Parameter<T>*, T*, const LinearShape&, Activation, \
                                          const DropoutBehind&, Context&);                                             \
  template void linear_backward_data<T>(const T*, const T*, T*, const LinearShape&, Context&);                         \
  template void linear_backward_data_through_relu<T>(const T*, const T*, const T*, T*, const LinearShape&, float,      \
                                                     Context&);                                                        \
  template void linear_backward_weight<T>(const T*, const T*, Parameter<T>*, Parameter<T>*, const LinearShape&,        \
                                          Accumulate, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::reference
