#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/context.h"

namespace striate {

/// x [rows, C]: every pixel of every image is a row.
struct LocalResponseNormShape {
  int64_t rows = 0, C = 0;
  int64_t size = 5;  ///< n: channels summed over, c − n/2 … c + (n − 1)/2, cut at the ends (n odd: symmetric)
  float k = 2.0f;
  float alpha = 1e-4f;
  float beta = 0.75f;
  bool divide_alpha = false;  ///< true: α/n, as Caffe, cuda-convnet2 and PyTorch have it; the paper has α

  float scale_alpha() const { return divide_alpha ? alpha / static_cast<float>(size) : alpha; }
  /// Throws ShapeError unless rows ≥ 0, C > 0, size > 0 and k > 0, α ≥ 0 (so that no power of a negative is taken).
  void check() const;
};

// Krizhevsky et al. 2012, §3.3:  y_c = x_c · (k + α Σ_{c'} x_{c'}²)^−β.
// backward recomputes the sums from x: nothing but x is saved. dx overwritten; y and dx may not alias x.
// T is double (reference only), float or bfloat16. bfloat16 is storage: sums and functions are float's (the reference's
// double's), and a value is rounded where it is stored.
namespace reference {
template <typename T>
void local_response_norm_forward(const T* x, T* y, const LocalResponseNormShape& shape, Context& context);
template <typename T>
void local_response_norm_backward(const T* x, const T* dy, T* dx, const LocalResponseNormShape& shape,
                                  Context& context);
}  // namespace reference

namespace cpu {
template <typename T>
void local_response_norm_forward(const T* x, T* y, const LocalResponseNormShape& shape, Context& context);
template <typename T>
void local_response_norm_backward(const T* x, const T* dy, T* dx, const LocalResponseNormShape& shape,
                                  Context& context);
}  // namespace cpu

namespace cuda {
template <typename T>
void local_response_norm_forward(const T* x, T* y, const LocalResponseNormShape& shape, Context& context);
template <typename T>
void local_response_norm_backward(const T* x, const T* dy, T* dx, const LocalResponseNormShape& shape,
                                  Context& context);
}  // namespace cuda

}  // namespace striate
