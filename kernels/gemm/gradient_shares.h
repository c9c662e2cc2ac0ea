#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/gemm/micro.h"
#include "kernels/gemm/weight_gradient.h"

namespace striate::gemm {

/// Where the tasks of a weight gradient leave what they sum: `count` shares of the rows, each a dwᵀ [groups, depth,
/// columns] and, where db is wanted, a db [groups·columns] in double.
struct GradientShares {
  int64_t count = 0;
  float* dw = nullptr;
  double* db = nullptr;
  int64_t dw_size = 0, db_size = 0;  ///< values in a share

  template <typename T>
  GradientShares(const WeightGradient<T>& gradient, int64_t shares)
      : count(shares),
        dw_size(gradient.groups * gradient.columns * gradient.x.depth()),
        db_size(gradient.db ? gradient.groups * gradient.columns : 0) {}
  /// Floats of scratch they take, a multiple of 16.
  int64_t floats() const;
  void place(float* scratch);
  /// Sums them, first share first, into the gradient's dw and db.
  template <typename T>
  void sum(const WeightGradient<T>& gradient, Context& context) const;
};

/// sums[k] += Σ_m dy[m·stride + k], m < rows, k < columns.
template <typename T>
void add_rows(const MicroKernels<T>& micro, const T* dy, int64_t stride, int64_t rows, int64_t columns, double* sums);

/// Shares to cut `rows` rows into, for tasks enough where dw has but `blocks` of them. Depends on the shape alone.
int64_t shares_wanted(int64_t rows, int64_t blocks);

}  // namespace striate::gemm
