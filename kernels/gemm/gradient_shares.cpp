#include "kernels/gemm/gradient_shares.h"

#include <algorithm>

#include "kernels/gemm/blocking.h"

namespace striate::gemm {

namespace {
constexpr int64_t kTasks = 32;        // to cut the work into where dw alone gives fewer
constexpr int64_t kFewestRows = 512;  // of a share
constexpr int64_t kDoubleFloats = sizeof(double) / sizeof(float);
}  // namespace

int64_t shares_wanted(int64_t rows, int64_t blocks) {
  return std::clamp<int64_t>(ceil_div(rows, kFewestRows), 1, ceil_div(kTasks, blocks));
}

template <typename T>
void add_rows(const MicroKernels<T>& micro, const T* dy, int64_t stride, int64_t rows, int64_t columns, double* sums) {
  constexpr int64_t kColumns = 128;
  float part[kColumns];
  for (int64_t k = 0; k < columns; k += kColumns) {
    const int64_t count = std::min(kColumns, columns - k);
    micro.sum_rows(dy + k, stride, rows, count, part);
    for (int64_t j = 0; j < count; ++j) sums[k + j] += double{part[j]};
  }
}

int64_t GradientShares::floats() const { return round_up(count * (dw_size + kDoubleFloats * db_size), 16); }

void GradientShares::place(float* scratch) {
  db = reinterpret_cast<double*>(scratch);
  dw = scratch + kDoubleFloats * count * db_size;
}

template <typename T>
void GradientShares::sum(const WeightGradient<T>& g, Context& context) const {
  const int64_t depth = g.x.depth(), K = g.columns;
  constexpr int64_t kLine = 16;  // floats in a cache line of dw
  context.threads->parallel_for(g.groups * ceil_div(depth, kLine), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / ceil_div(depth, kLine), d0 = i % ceil_div(depth, kLine) * kLine;
      const int64_t lines = std::min(kLine, depth - d0);
      float* const total = dw + (group * depth + d0) * K;
      for (int64_t share = 1; share < count; ++share) {
        const float* const part = total + share * dw_size;
        for (int64_t j = 0; j < lines * K; ++j) total[j] += part[j];
      }
      float* const to = g.dw + group * g.dw_group + d0;
      for (int64_t k = 0; k < K; ++k) {
        for (int64_t d = 0; d < lines; ++d) {
          to[k * depth + d] = g.accumulate == Accumulate::yes ? to[k * depth + d] + total[d * K + k] : total[d * K + k];
        }
      }
    }
  });
  for (int64_t k = 0; k < db_size; ++k) {
    double total = g.accumulate == Accumulate::yes ? double{g.db[k]} : 0.0;
    for (int64_t share = 0; share < count; ++share) total += db[share * db_size + k];
    g.db[k] = static_cast<float>(total);
  }
}

template void add_rows(const MicroKernels<float>&, const float*, int64_t, int64_t, int64_t, double*);
template void add_rows(const MicroKernels<bfloat16>&, const bfloat16*, int64_t, int64_t, int64_t, double*);
template void GradientShares::sum(const WeightGradient<float>&, Context&) const;
template void GradientShares::sum(const WeightGradient<bfloat16>&, Context&) const;

}  // namespace striate::gemm
