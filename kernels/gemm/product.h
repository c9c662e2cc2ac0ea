#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/context.h"
#include "kernels/gemm/patches.h"

namespace striate::gemm {

/// How the right-hand matrix w(d, n), d = (r·S + s)·channels + c, lies in memory; the taps are those of the Patches it
/// is multiplied with.
template <typename T>
struct Weights {
  const T* w = nullptr;
  /// true:  w(d, n) = w[n·stride + d]
  /// false: w(d, n) = w[r·tap_row_stride + s·tap_stride + c·stride + n]
  bool depth_contiguous = true;
  int64_t stride = 0;
  int64_t tap_row_stride = 0, tap_stride = 0;
};

/// c(m, n) = act(Σ_d a(m, d)·w(d, n) + bias[n]) for each of `groups` independent products.
/// Row m = (image, p, q) of c begins at c + image·c_image_stride + p·c_row_stride + q·c_pixel_stride and is
/// overwritten. Each value is summed in an order that depends on the shape of the product alone: the same bits for any
/// number of threads.
template <typename T>
struct Product {
  Patches<T> a;
  Weights<T> w;
  int64_t columns = 0;
  T* c = nullptr;
  int64_t c_image_stride = 0, c_row_stride = 0, c_pixel_stride = 0;
  const float* bias = nullptr;
  Activation activation = Activation::none;
  int64_t groups = 1;
  int64_t a_group = 0, w_group = 0, c_group = 0;  ///< values from a group to the next; bias moves by c_group
  const float* packed = nullptr;                  ///< w as pack() leaves it, which multiply() then need not do
};

/// Up to so many rows weights are packed by those who use them, which sums a product's depth in other blocks.
constexpr int64_t kFewRows = 280;

/// Instantiated for float and bfloat16, whose sums are float32 all the same, rounded once at their end.
template <typename T>
void multiply(const Product<T>& product, Context& context);

// For products by the same w that differ in the number of images: w is packed once, by any of them. The bits are those
// of a product of all the images, where that has more than kFewRows rows.
/// Floats that pack() writes.
template <typename T>
int64_t packed_floats(const Product<T>& product, const Context& context);
template <typename T>
void pack(const Product<T>& product, float* to, Context& context);
/// Floats that multiply() takes of the workspace where w is packed.
template <typename T>
int64_t scratch_floats(const Product<T>& product, const Context& context);

}  // namespace striate::gemm
