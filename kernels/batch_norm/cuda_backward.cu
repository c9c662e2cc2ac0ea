// Batch norm, backward: Σ dy and Σ dy·(x − mean) of every channel, by the same slices and tree as the forward pass's
// statistics, then dx. Bound by DRAM: x and dy are read twice and dx is written once; with constant statistics dy alone
// is read for dx. Ioffe & Szegedy 2015, §3.
#include "kernels/batch_norm/row_sums.h"
#include "kernels/gpu/launch.h"

namespace striate::cuda {

namespace {

using namespace batch_norm;
using gpu::Floats;

// Σ dy and Σ dy·(x − mean).
template <int kChannels_>
struct GradientSums {
  static constexpr int kChannels = kChannels_, kFields = 2;
  Floats<kChannels> dy, dy_away;

  __device__ __forceinline__ Floats<kChannels>& field(int i) { return i == 0 ? dy : dy_away; }
  __device__ __forceinline__ void merge(const GradientSums& other, float, float) {
    for (int i = 0; i < kChannels; ++i) {
      dy[i] += other.dy[i];
      dy_away[i] += other.dy_away[i];
    }
  }
};

template <int kChannels, typename T>
__global__ void gradient_sums_kernel(const T* __restrict__ x, const T* __restrict__ dy, const float* __restrict__ mean,
                                     float* __restrict__ partials, Slices s) {
  const Column column = column_of<kChannels>(s, blockIdx.x);
  auto mine = no_rows<GradientSums<kChannels>>();
  if (column.count > 0) {
    const auto centre = Floats<kChannels>::load_constant(mean + column.c);
    int64_t at = column.at;
    for (int row = 0; row < column.count; ++row, at += column.step) {
      const auto value = Floats<kChannels>::load_constant(x + at), gradient = Floats<kChannels>::load_constant(dy + at);
      for (int i = 0; i < kChannels; ++i) {
        mine.dy[i] += gradient[i];
        mine.dy_away[i] = fmaf(gradient[i], value[i] - centre[i], mine.dy_away[i]);
      }
    }
  }
  store_partial(mine, partials, s, column);
}

// What the sums become; dx = through_dy·dy + through_x·(x − mean) + constant. dgamma and dbeta may be null.
struct GradientChannels {
  const float *gamma, *inv_std;
  float *dgamma, *dbeta, *through_dy, *through_x, *constant;
  bool accumulate;
};

__global__ void __launch_bounds__(kMergeChannels* kMergeRows)
    finish_gradient_kernel(const float* __restrict__ partials, GradientChannels out, Slices s) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const auto all = merged_slices<GradientSums<1>>(partials, s, c);
  if (threadIdx.y != 0 || c >= s.C) return;
  const float dy = all.dy[0], dy_away = all.dy_away[0], inverse = out.inv_std[c], factor = out.gamma[c] * inverse;
  if (out.dgamma != nullptr) out.dgamma[c] = out.accumulate ? fmaf(dy_away, inverse, out.dgamma[c]) : dy_away * inverse;
  if (out.dbeta != nullptr) out.dbeta[c] = out.accumulate ? out.dbeta[c] + dy : dy;
  const float each = -factor / static_cast<float>(max(s.rows, 1));
  out.through_dy[c] = factor;
  out.through_x[c] = each * inverse * inverse * dy_away;
  out.constant[c] = each * dy;
}

template <int kChannels, typename T>
__global__ void input_gradient_kernel(const T* __restrict__ x, const T* __restrict__ dy, const float* __restrict__ mean,
                                      const float* __restrict__ through_dy, const float* __restrict__ through_x,
                                      const float* __restrict__ constant, T* __restrict__ dx, Slices s) {
  const Column column = column_of<kChannels>(s, block_from_the_end());
  if (column.count == 0) return;
  const auto centre = Floats<kChannels>::load_constant(mean + column.c),
             of_dy = Floats<kChannels>::load_constant(through_dy + column.c),
             of_x = Floats<kChannels>::load_constant(through_x + column.c),
             rest = Floats<kChannels>::load_constant(constant + column.c);
  int64_t at = column.at;
  for (int row = 0; row < column.count; ++row, at += column.step) {
    const auto value = Floats<kChannels>::load_constant(x + at);
    auto gradient = Floats<kChannels>::load_constant(dy + at);
    for (int i = 0; i < kChannels; ++i) {
      gradient[i] = fmaf(gradient[i], of_dy[i], fmaf(value[i] - centre[i], of_x[i], rest[i]));
    }
    gradient.store(dx + at);
  }
}

// With statistics that are constants: dx = gamma·inv_std·dy.
template <int kChannels, typename T>
__global__ void scale_gradient_kernel(const T* __restrict__ dy, const float* __restrict__ gamma,
                                      const float* __restrict__ inv_std, T* __restrict__ dx, Slices s) {
  const Column column = column_of<kChannels>(s, block_from_the_end());
  if (column.count == 0) return;
  const auto scale = Floats<kChannels>::load_constant(gamma + column.c),
             inverse = Floats<kChannels>::load_constant(inv_std + column.c);
  int64_t at = column.at;
  for (int row = 0; row < column.count; ++row, at += column.step) {
    auto gradient = Floats<kChannels>::load_constant(dy + at);
    for (int i = 0; i < kChannels; ++i) gradient[i] *= scale[i] * inverse[i];
    gradient.store(dx + at);
  }
}

}  // namespace

template <typename T>
void batch_norm_backward(const T* x, const T* dy, const Parameter<T>* gamma, const Parameter<T>* mean,
                         const Parameter<T>* inv_std, T* dx, Parameter<T>* dgamma, Parameter<T>* dbeta,
                         const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate, Context& context) {
  shape.check();
  gpu::with_channels(shape.C, {x, dy, gamma, mean, inv_std, dx}, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    const Slices s = slices_to_sum<kChannels>(shape), map = slices_to_map<kChannels>(shape);
    float* through_dy = context.workspace->get<float>(shape.C * (3 + GradientSums<1>::kFields * int64_t{s.count}));
    float *through_x = through_dy + shape.C, *constant = through_x + shape.C, *partials = constant + shape.C;
    const GradientChannels out = {gamma,      inv_std,   dgamma,   dbeta,
                                  through_dy, through_x, constant, accumulate == Accumulate::yes};
    gpu::Stream& stream = *context.stream;
    if (dgamma != nullptr || dbeta != nullptr || (dx != nullptr && batch_statistics)) {
      gpu::launch(gradient_sums_kernel<kChannels, T>, s.blocks(), s.threads, 0, stream, x, dy, mean, partials, s);
      gpu::launch(finish_gradient_kernel, merge_blocks(s), merge_threads(s), 0, stream, partials, out, s);
    }
    if (dx == nullptr) return;
    if (batch_statistics) {
      gpu::launch(input_gradient_kernel<kChannels, T>, map.blocks(), map.threads, 0, stream, x, dy, mean, through_dy,
                  through_x, constant, dx, map);
    } else {
      gpu::launch(scale_gradient_kernel<kChannels, T>, map.blocks(), map.threads, 0, stream, dy, gamma, inv_std, dx,
                  map);
    }
  });
}

#define STRIATE_INSTANTIATE(T)                                                                                       \
  template void batch_norm_backward<T>(const T*, const T*, const Parameter<T>*, const Parameter<T>*,                 \
                                       const Parameter<T>*, T*, Parameter<T>*, Parameter<T>*, const BatchNormShape&, \
                                       bool, Accumulate, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
