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

}  // namespace

template <typename T>
void linear_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& shape,
                    Activation activation, Context& context) {
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
      y[i] = rounded_to<T>(activate(sum, activation));
    }
  });
}

template <typename T>
void linear_backward_data(const T* dy, const T* w, T* dx, const LinearShape& shape, Context& context) {
  shape.check();
  const int64_t N = shape.N, C = shape.C, K = shape.K;
  context.threads->parallel_for(N * C, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / C, c = i % C;
      double sum = 0.0;
      for (int64_t k = 0; k < K; ++k) sum += value_of(dy[n * K + k]) * value_of(w[k * C + c]);
      dx[i] = rounded_to<T>(sum);
    }
  });
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

template void linear_forward<float>(const float*, const float*, const float*, float*, const LinearShape&, Activation,
                                    Context&);
template void linear_forward<double>(const double*, const double*, const double*, double*, const LinearShape&,
                                     Activation, Context&);
template void linear_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const LinearShape&,
                                       Activation, Context&);
template void linear_backward_data<float>(const float*, const float*, float*, const LinearShape&, Context&);
template void linear_backward_data<double>(const double*, const double*, double*, const LinearShape&, Context&);
template void linear_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const LinearShape&, Context&);
template void linear_backward_weight<float>(const float*, const float*, float*, float*, const LinearShape&, Accumulate,
                                            Context&);
template void linear_backward_weight<double>(const double*, const double*, double*, double*, const LinearShape&,
                                             Accumulate, Context&);
template void linear_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const LinearShape&,
                                               Accumulate, Context&);

}  // namespace striate::reference
