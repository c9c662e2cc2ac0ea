// Batch norm, forward. A thread keeps four channels (accesses of 16 bytes, of bfloat16 8) and walks down the rows of a
// slice; its neighbours have the next channels and rows. Sums over rows go thread → block → slices → channel in a tree
// that depends on the shape alone: the same bits every run, on every GPU. Statistics are deviations from the mean of a
// group's first rows, never squares of x, and two parts merge with the squared distance of their means (Chan, Golub &
// LeVeque 1983): nothing cancels, however far the mean lies from zero. Bound by DRAM: train reads x twice and writes y
// once; the second pass begins with the rows that the first one read last, which L2 still holds. Ioffe & Szegedy 2015,
// algorithm 1.
#include "kernels/batch_norm/check.h"
#include "kernels/batch_norm/row_sums.h"
#include "kernels/gpu/launch.h"

namespace striate::cuda {

namespace {

using namespace batch_norm;
using gpu::Floats;

// Rows that share a pivot, the mean of their first batch. If it lies d from their mean, the batch alone has 8·d² of
// squared deviations, and at most 64·d² cancel: an error of 8 roundings.
constexpr int kGroup = 8 * kBatch;

// Of some rows: the mean is pivot + deviation, and the sum of squared deviations from it.
template <int kChannels_>
struct Statistics {
  static constexpr int kChannels = kChannels_, kFields = 3;
  Floats<kChannels> pivot, deviation, squares;

  __device__ __forceinline__ Floats<kChannels>& field(int i) { return i == 0 ? pivot : i == 1 ? deviation : squares; }
  __device__ __forceinline__ void merge(const Statistics& other, float own_rows, float other_rows) {
    if (other_rows == 0.0f) return;
    const float share = other_rows / (own_rows + other_rows);
    for (int i = 0; i < kChannels; ++i) {
      const float distance = (other.pivot[i] - pivot[i]) + (other.deviation[i] - deviation[i]);
      deviation[i] = fmaf(distance, share, deviation[i]);
      squares[i] += fmaf(distance * own_rows * share, distance, other.squares[i]);
    }
  }
};

// Of rows at, at + step, …; count ≤ kGroup.
template <int kChannels, typename T>
__device__ __forceinline__ Statistics<kChannels> group_statistics(const T* x, int64_t at, int64_t step, int count) {
  auto result = no_rows<Statistics<kChannels>>();
  auto sum = Floats<kChannels>::all(0.0f);
  for (int first = 0; first < count; first += kBatch) {
    Floats<kChannels> batch[kBatch];
    for (int r = 0; r < kBatch; ++r) {
      // Rows beyond the last count as none below.
      batch[r] = first + r < count ? Floats<kChannels>::load_constant(x + at + (first + r) * step) : batch[0];
    }
    const int rows = min(kBatch, count - first);
    for (int i = 0; i < kChannels; ++i) {
      if (first == 0) {
        float from_first = 0.0f;
        for (int r = 1; r < kBatch; ++r) from_first += batch[r][i] - batch[0][i];
        result.pivot[i] = batch[0][i] + from_first / static_cast<float>(rows);
      }
      for (int r = 0; r < kBatch; ++r) {
        if (r >= rows) continue;
        const float away = batch[r][i] - result.pivot[i];
        sum[i] += away;
        result.squares[i] = fmaf(away, away, result.squares[i]);
      }
    }
  }
  for (int i = 0; i < kChannels; ++i) {
    result.deviation[i] = sum[i] / static_cast<float>(count);
    const float squares = fmaf(-sum[i], result.deviation[i], result.squares[i]);
    result.squares[i] = squares < 0.0f ? 0.0f : squares;  // rounding may leave it there; a NaN stays
  }
  return result;
}

template <int kChannels, typename T>
__global__ void statistics_kernel(const T* __restrict__ x, float* __restrict__ partials, Slices s) {
  const Column column = column_of<kChannels>(s, blockIdx.x);
  auto mine = no_rows<Statistics<kChannels>>();
  for (int first = 0; first < column.count; first += kGroup) {
    const int count = min(kGroup, column.count - first);
    const auto group = group_statistics<kChannels>(x, column.at + first * column.step, column.step, count);
    if (first == 0) {
      mine = group;
    } else {
      mine.merge(group, static_cast<float>(first), static_cast<float>(count));
    }
  }
  store_partial(mine, partials, s, column);
}

// What the batch's statistics become, channel by channel; y = (x − mean)·factor + offset.
struct TrainedChannels {
  const float *gamma, *beta;
  float *mean, *inv_std, *running_mean, *running_var, *factor, *offset;
  float epsilon, momentum;
};

__global__ void __launch_bounds__(kMergeChannels* kMergeRows)
    finish_statistics_kernel(const float* __restrict__ partials, TrainedChannels out, Slices s) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const auto all = merged_slices<Statistics<1>>(partials, s, c);
  if (threadIdx.y != 0 || c >= s.C) return;
  const auto rows = static_cast<float>(s.rows);
  const float pivot = all.pivot[0], deviation = all.deviation[0], squares = all.squares[0];
  const float mean = pivot + deviation, rest = (pivot - mean) + deviation;  // what rounding took from the mean
  const float inverse = 1.0f / sqrtf(squares / rows + out.epsilon), factor = out.gamma[c] * inverse;
  out.mean[c] = mean;
  out.inv_std[c] = inverse;
  out.factor[c] = factor;
  out.offset[c] = fmaf(-rest, factor, out.beta[c]);
  const float keep = 1.0f - out.momentum;
  out.running_mean[c] = fmaf(out.momentum, mean, keep * out.running_mean[c]);
  out.running_var[c] = fmaf(out.momentum, squares / (rows - 1.0f), keep * out.running_var[c]);
}

// y = (x − centre)·factor + offset, down a column.
template <int kChannels, typename T>
__device__ __forceinline__ void normalize(const T* x, T* y, const Floats<kChannels>& centre,
                                          const Floats<kChannels>& factor, const Floats<kChannels>& offset,
                                          const Column& column) {
  int64_t at = column.at;
  for (int row = 0; row < column.count; ++row, at += column.step) {
    Floats<kChannels> value = Floats<kChannels>::load_constant(x + at);
    for (int i = 0; i < kChannels; ++i) value[i] = fmaf(value[i] - centre[i], factor[i], offset[i]);
    value.store(y + at);
  }
}

template <int kChannels, typename T>
__global__ void normalize_kernel(const T* __restrict__ x, T* __restrict__ y, const float* __restrict__ mean,
                                 const float* __restrict__ factor, const float* __restrict__ offset, Slices s) {
  const Column column = column_of<kChannels>(s, block_from_the_end());
  if (column.count == 0) return;
  normalize(x, y, Floats<kChannels>::load_constant(mean + column.c),
            Floats<kChannels>::load_constant(factor + column.c), Floats<kChannels>::load_constant(offset + column.c),
            column);
}

template <int kChannels, typename T>
__global__ void eval_kernel(const T* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,
                            const float* __restrict__ mean, const float* __restrict__ var, T* __restrict__ y,
                            float epsilon, Slices s) {
  const Column column = column_of<kChannels>(s, blockIdx.x);
  if (column.count == 0) return;
  auto factor = Floats<kChannels>::load_constant(gamma + column.c);
  const auto variance = Floats<kChannels>::load_constant(var + column.c);
  for (int i = 0; i < kChannels; ++i) factor[i] *= 1.0f / sqrtf(variance[i] + epsilon);
  normalize(x, y, Floats<kChannels>::load_constant(mean + column.c), factor,
            Floats<kChannels>::load_constant(beta + column.c), column);
}

__global__ void inverse_deviation_kernel(const float* __restrict__ var, float* __restrict__ inv_std, float epsilon,
                                         int C) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c < C) inv_std[c] = 1.0f / sqrtf(var[c] + epsilon);
}

}  // namespace

template <typename T>
void batch_norm_forward_train(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta, T* y, Parameter<T>* mean,
                              Parameter<T>* inv_std, Parameter<T>* running_mean, Parameter<T>* running_var,
                              const BatchNormShape& shape, Context& context) {
  check_training(shape);
  gpu::with_channels(shape.C, {x, y, mean}, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    const Slices s = slices_to_sum<kChannels>(shape), map = slices_to_map<kChannels>(shape);
    float* factor = context.workspace->get<float>(shape.C * (2 + Statistics<1>::kFields * int64_t{s.count}));
    float *offset = factor + shape.C, *partials = offset + shape.C;
    const TrainedChannels out = {gamma,       beta,   mean,   inv_std,       running_mean,
                                 running_var, factor, offset, shape.epsilon, shape.momentum};
    gpu::Stream& stream = *context.stream;
    gpu::launch(statistics_kernel<kChannels, T>, s.blocks(), s.threads, 0, stream, x, partials, s);
    gpu::launch(finish_statistics_kernel, merge_blocks(s), merge_threads(s), 0, stream, partials, out, s);
    gpu::launch(normalize_kernel<kChannels, T>, map.blocks(), map.threads, 0, stream, x, y, mean, factor, offset, map);
  });
}

template <typename T>
void batch_norm_forward_eval(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta,
                             const Parameter<T>* running_mean, const Parameter<T>* running_var, T* y,
                             Parameter<T>* inv_std, const BatchNormShape& shape, Context& context) {
  shape.check();
  const int C = gpu::index_32(shape.C, "batch_norm: channels");
  if (inv_std != nullptr) {
    gpu::launch(inverse_deviation_kernel, dim3((static_cast<unsigned>(C) + kSumThreads - 1) / kSumThreads), kSumThreads,
                0, *context.stream, running_var, inv_std, shape.epsilon, C);
  }
  gpu::with_channels(shape.C, {x, y, gamma, beta, running_mean, running_var}, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    const Slices map = slices_to_map<kChannels>(shape);
    gpu::launch(eval_kernel<kChannels, T>, map.blocks(), map.threads, 0, *context.stream, x, gamma, beta, running_mean,
                running_var, y, shape.epsilon, map);
  });
}

#define STRIATE_INSTANTIATE(T)                                                                                      \
  template void batch_norm_forward_train<T>(const T*, const Parameter<T>*, const Parameter<T>*, T*, Parameter<T>*,  \
                                            Parameter<T>*, Parameter<T>*, Parameter<T>*, const BatchNormShape&,     \
                                            Context&);                                                              \
  template void batch_norm_forward_eval<T>(const T*, const Parameter<T>*, const Parameter<T>*, const Parameter<T>*, \
                                           const Parameter<T>*, T*, Parameter<T>*, const BatchNormShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
