#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/gemm/patches.h"

namespace striate::gemm {

/// dw[k·depth + d] (+)= Σ_m dy[m·dy_stride + k]·x(m, d), k < columns, for each group; and, where db is not null,
/// db[k] (+)= Σ_m dy[m·dy_stride + k] over all groups·columns of dy. Same bits for any number of threads. All functions
/// are instantiated for float and bfloat16.
template <typename T>
struct WeightGradient {
  Patches<T> x;
  const T* dy = nullptr;
  int64_t dy_stride = 0;
  int64_t columns = 0;
  float* dw = nullptr;
  float* db = nullptr;
  Accumulate accumulate = Accumulate::no;
  int64_t groups = 1;
  int64_t x_group = 0, dy_group = 0, dw_group = 0;  ///< values from a group to the next
};
template <typename T>
void weight_gradient(const WeightGradient<T>& gradient, Context& context);

/// The two ways to it: rows of images, and plain rows. Both need at least one row.
template <typename T>
void pixel_weight_gradient(const WeightGradient<T>& gradient, Context& context);
/// What pixel_weight_gradient() does for fewer than kMergedChannels channels: the taps of a row are taken together.
template <typename T>
void merged_weight_gradient(const WeightGradient<T>& gradient, Context& context);
constexpr int64_t kMergedChannels = 6;
template <typename T>
void plain_weight_gradient(const WeightGradient<T>& gradient, Context& context);

/// db alone; `scratch` holds bias_scratch() floats.
template <typename T>
void bias_gradient(const WeightGradient<T>& gradient, float* scratch, Context& context);
template <typename T>
int64_t bias_scratch(const WeightGradient<T>& gradient);

}  // namespace striate::gemm
