#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/gemm/patches.h"

namespace striate::gemm {

/// dw[k·depth + d] (+)= Σ_m dy[m·dy_stride + k]·x(m, d), k < columns, for each group; and, where db is not null,
/// db[k] (+)= Σ_m dy[m·dy_stride + k] over all groups·columns of dy. Same bits for any number of threads.
struct WeightGradient {
  Patches x;
  const float* dy = nullptr;
  int64_t dy_stride = 0;
  int64_t columns = 0;
  float* dw = nullptr;
  float* db = nullptr;
  Accumulate accumulate = Accumulate::no;
  int64_t groups = 1;
  int64_t x_group = 0, dy_group = 0, dw_group = 0;  ///< floats from a group to the next
};
void weight_gradient(const WeightGradient& gradient, Context& context);

/// The two ways to it: rows of images, and plain rows. Both need at least one row.
void pixel_weight_gradient(const WeightGradient& gradient, Context& context);
/// What pixel_weight_gradient() does for fewer than kMergedChannels channels: the taps of a row are taken together.
void merged_weight_gradient(const WeightGradient& gradient, Context& context);
constexpr int64_t kMergedChannels = 6;
void plain_weight_gradient(const WeightGradient& gradient, Context& context);

/// db alone; `scratch` holds bias_scratch() floats.
void bias_gradient(const WeightGradient& gradient, float* scratch, Context& context);
int64_t bias_scratch(const WeightGradient& gradient);

}  // namespace striate::gemm
