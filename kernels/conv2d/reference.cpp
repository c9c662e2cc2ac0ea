// The sums of conv2d.h written down: one loop an index, double accumulators. Every output value is one task's alone.
#include "kernels/conv2d/conv2d.h"
#include "kernels/error.h"
#include "kernels/reference_values.h"

namespace striate::reference {

namespace {

double activate(double v, Activation activation) {
  if (activation == Activation::relu) return v < 0 ? 0.0 : v;
  if (activation == Activation::leaky_relu) return v < 0 ? v * double{kLeakySlope} : v;
  return v;
}

/// The image coordinate that output coordinate `p` sees through tap `r`; may lie outside the image.
int64_t seen(int64_t p, int64_t stride, int64_t pad, int64_t r, int64_t dilation) {
  return p * stride - pad + r * dilation;
}

}  // namespace

template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    Activation activation, Context& context) {
  const Conv2dShape& c2 = shape;
  c2.check();
  require<ShapeError>(derivative_from_output(activation),
                      "{}: only none, relu and leaky_relu can be fused into a convolution; apply others after it",
                      c2.to_string());
  const int64_t P = c2.P(), Q = c2.Q(), Cg = c2.group_channels(), Kg = c2.group_kernels();
  context.threads->parallel_for(c2.y_size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t k = i % c2.K, q = i / c2.K % Q, p = i / c2.K / Q % P, n = i / c2.K / Q / P;
      double sum = b ? double{b[k]} : 0.0;
      for (int64_t r = 0; r < c2.R; ++r) {
        const int64_t ih = seen(p, c2.stride_h, c2.pad_h, r, c2.dilation_h);
        if (ih < 0 || ih >= c2.H) continue;
        for (int64_t s = 0; s < c2.S; ++s) {
          const int64_t iw = seen(q, c2.stride_w, c2.pad_w, s, c2.dilation_w);
          if (iw < 0 || iw >= c2.W) continue;
          const T* pixel = x + ((n * c2.H + ih) * c2.W + iw) * c2.C + k / Kg * Cg;
          const T* tap = w + ((k * c2.R + r) * c2.S + s) * Cg;
          for (int64_t c = 0; c < Cg; ++c) sum += value_of(pixel[c]) * value_of(tap[c]);
        }
      }
      y[i] = rounded_to<T>(activate(sum, activation));
    }
  });
}

template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context) {
  const Conv2dShape& c2 = shape;
  c2.check();
  const int64_t P = c2.P(), Q = c2.Q(), Cg = c2.group_channels(), Kg = c2.group_kernels();
  context.threads->parallel_for(c2.x_size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % c2.C, iw = i / c2.C % c2.W, ih = i / c2.C / c2.W % c2.H, n = i / c2.C / c2.W / c2.H;
      double sum = 0.0;
      for (int64_t r = 0; r < c2.R; ++r) {
        const int64_t ph = ih + c2.pad_h - r * c2.dilation_h;
        if (ph < 0 || ph % c2.stride_h != 0 || ph / c2.stride_h >= P) continue;
        for (int64_t s = 0; s < c2.S; ++s) {
          const int64_t qw = iw + c2.pad_w - s * c2.dilation_w;
          if (qw < 0 || qw % c2.stride_w != 0 || qw / c2.stride_w >= Q) continue;
          const T* pixel = dy + ((n * P + ph / c2.stride_h) * Q + qw / c2.stride_w) * c2.K;
          const int64_t first = c / Cg * Kg;
          for (int64_t k = first; k < first + Kg; ++k) {
            sum += value_of(pixel[k]) * value_of(w[((k * c2.R + r) * c2.S + s) * Cg + c % Cg]);
          }
        }
      }
      dx[i] = rounded_to<T>(sum);
    }
  });
}

template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& shape,
                            Accumulate accumulate, Context& context) {
  const Conv2dShape& c2 = shape;
  c2.check();
  const int64_t P = c2.P(), Q = c2.Q(), Cg = c2.group_channels(), Kg = c2.group_kernels();
  const bool add = accumulate == Accumulate::yes;
  context.threads->parallel_for(c2.w_size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % Cg, s = i / Cg % c2.S, r = i / Cg / c2.S % c2.R, k = i / Cg / c2.S / c2.R;
      double sum = 0.0;
      for (int64_t n = 0; n < c2.N; ++n) {
        for (int64_t p = 0; p < P; ++p) {
          const int64_t ih = seen(p, c2.stride_h, c2.pad_h, r, c2.dilation_h);
          if (ih < 0 || ih >= c2.H) continue;
          for (int64_t q = 0; q < Q; ++q) {
            const int64_t iw = seen(q, c2.stride_w, c2.pad_w, s, c2.dilation_w);
            if (iw < 0 || iw >= c2.W) continue;
            sum += value_of(dy[((n * P + p) * Q + q) * c2.K + k]) *
                   value_of(x[((n * c2.H + ih) * c2.W + iw) * c2.C + k / Kg * Cg + c]);
          }
        }
      }
      dw[i] = static_cast<Parameter<T>>(add ? double{dw[i]} + sum : sum);
    }
  });
  if (!db) return;
  for (int64_t k = 0; k < c2.K; ++k) {
    double sum = 0.0;
    for (int64_t m = 0; m < c2.N * P * Q; ++m) sum += value_of(dy[m * c2.K + k]);
    db[k] = static_cast<Parameter<T>>(add ? double{db[k]} + sum : sum);
  }
}

template void conv2d_forward<float>(const float*, const float*, const float*, float*, const Conv2dShape&, Activation,
                                    Context&);
template void conv2d_forward<double>(const double*, const double*, const double*, double*, const Conv2dShape&,
                                     Activation, Context&);
template void conv2d_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const Conv2dShape&,
                                       Activation, Context&);
template void conv2d_backward_data<float>(const float*, const float*, float*, const Conv2dShape&, Context&);
template void conv2d_backward_data<double>(const double*, const double*, double*, const Conv2dShape&, Context&);
template void conv2d_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const Conv2dShape&, Context&);
template void conv2d_backward_weight<float>(const float*, const float*, float*, float*, const Conv2dShape&, Accumulate,
                                            Context&);
template void conv2d_backward_weight<double>(const double*, const double*, double*, double*, const Conv2dShape&,
                                             Accumulate, Context&);
template void conv2d_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const Conv2dShape&,
                                               Accumulate, Context&);

}  // namespace striate::reference
