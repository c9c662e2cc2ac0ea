// Local response normalisation across channels. A block takes some whole rows: the squares of their channels go to
// shared memory and windows are summed from there, so that x (and dy) is read once and y (dx) written once: bound by
// DRAM, 8 (12) bytes a value. A thread has four neighbouring channels, and their windows are three aligned vectors
// where they reach 4 channels or less to each side; else it has one channel. The backward pass puts the terms
// dy·x·s^(−β−1) where the squares were and sums the mirrored window. Sums run in the order of the channels: the same
// bits every run. Krizhevsky et al. 2012, §3.3.
#include "kernels/gpu/channels.h"
#include "kernels/gpu/index.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/shared.h"
#include "kernels/local_response_norm/local_response_norm.h"

namespace striate::cuda {

namespace {

using gpu::Floats;

constexpr int kMaxThreads = 1024;
constexpr int kReach = 4;  // channels on each side that a thread of four channels sees

struct Norm {
  int rows, C;
  int before, after;  // the window is c − before … c + after, cut at the row's ends
  float k, alpha, beta;
};

// s^−β, s > 0. r·√r of r = s^−1/2 is good to 4 roundings; powf to 4.
__device__ __forceinline__ float inverse_power(float s, float beta) {
  if (beta == 0.75f) {
    const float r = rsqrtf(s);
    return r * sqrtf(r);
  }
  if (beta == 0.5f) return rsqrtf(s);
  if (beta == 1.0f) return 1.0f / s;
  return powf(s, -beta);
}

// Σ of the channels c − before … c + after that the row has, for each c of the thread. `values` is where its first
// channel lies among the block's rows in shared memory, `own` what lies there.
template <int kChannels>
__device__ __forceinline__ Floats<kChannels> window_sums(const float* values, const Floats<kChannels>& own, int c,
                                                         int C, int before, int after) {
  auto sum = Floats<kChannels>::all(0.0f);
  if constexpr (kChannels == 4) {
    const auto none = Floats<4>::all(0.0f);
    const auto low = c > 0 ? Floats<4>::load(values - 4) : none;
    const auto high = c + 4 < C ? Floats<4>::load(values + 4) : none;
    float near[12];
    for (int i = 0; i < 4; ++i) {
      near[i] = low[i];
      near[4 + i] = own[i];
      near[8 + i] = high[i];
    }
    for (int distance = -kReach; distance <= kReach; ++distance) {
      if (distance < -before || distance > after) continue;
      for (int i = 0; i < 4; ++i) sum[i] += near[4 + i + distance];
    }
  } else {
    for (int distance = -before; distance <= after; ++distance) {
      if (c + distance >= 0 && c + distance < C) sum[0] += values[distance];
    }
  }
  return sum;
}

// The thread's place: channels c … of row `row`, or none.
struct Place {
  int64_t at;
  int c;
  bool inside;
};

template <int kChannels>
__device__ __forceinline__ Place place_of(const Norm& norm) {
  const int c = static_cast<int>(threadIdx.x) * kChannels;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  return {row * norm.C + c, c, row < norm.rows};
}

template <int kChannels, typename T>
__global__ void __launch_bounds__(kMaxThreads) forward_kernel(const T* __restrict__ x, T* __restrict__ y, Norm norm) {
  const Place place = place_of<kChannels>(norm);
  auto value = place.inside ? Floats<kChannels>::load_constant(x + place.at) : Floats<kChannels>::all(0.0f);
  Floats<kChannels> square;
  for (int i = 0; i < kChannels; ++i) square[i] = value[i] * value[i];
  float* own = gpu::dynamic_shared<float>() + static_cast<int>(threadIdx.y) * norm.C + place.c;
  square.store(own);
  __syncthreads();
  if (!place.inside) return;
  const auto sum = window_sums(own, square, place.c, norm.C, norm.before, norm.after);
  for (int i = 0; i < kChannels; ++i) value[i] *= inverse_power(fmaf(norm.alpha, sum[i], norm.k), norm.beta);
  value.store(y + place.at);
}

// dx_c = dy_c·s_c^−β − 2αβ·x_c·Σ dy_c'·x_c'·s_c'^(−β−1) over the channels c' whose window holds c.
template <int kChannels, typename T>
__global__ void __launch_bounds__(kMaxThreads)
    backward_kernel(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, Norm norm) {
  const Place place = place_of<kChannels>(norm);
  const auto none = Floats<kChannels>::all(0.0f);
  const auto value = place.inside ? Floats<kChannels>::load_constant(x + place.at) : none;
  auto gradient = place.inside ? Floats<kChannels>::load_constant(dy + place.at) : none;
  Floats<kChannels> term;
  for (int i = 0; i < kChannels; ++i) term[i] = value[i] * value[i];
  float* own = gpu::dynamic_shared<float>() + static_cast<int>(threadIdx.y) * norm.C + place.c;
  term.store(own);
  __syncthreads();
  auto sum = window_sums(own, term, place.c, norm.C, norm.before, norm.after);
  for (int i = 0; i < kChannels; ++i) {
    const float scale = fmaf(norm.alpha, sum[i], norm.k);
    gradient[i] *= inverse_power(scale, norm.beta);
    term[i] = gradient[i] * value[i] / scale;
  }
  __syncthreads();
  term.store(own);
  __syncthreads();
  if (!place.inside) return;
  sum = window_sums(own, term, place.c, norm.C, norm.after, norm.before);
  const float slope = -2.0f * norm.alpha * norm.beta;
  for (int i = 0; i < kChannels; ++i) gradient[i] = fmaf(slope * value[i], sum[i], gradient[i]);
  gradient.store(dx + place.at);
}

// ---- rows longer than a block, which no known network has: windows are read from x as they come ----

__device__ __forceinline__ float value_at(const float* p) { return *p; }
__device__ __forceinline__ float value_at(const bfloat16* p) { return gpu::from_bf16(p->bits); }

template <typename T>
__device__ __forceinline__ float long_row_scale(const T* row, int c, const Norm& norm) {
  float sum = 0.0f;
  for (int i = max(0, c - norm.before); i <= min(norm.C - 1, c + norm.after); ++i)
    sum += value_at(row + i) * value_at(row + i);
  return fmaf(norm.alpha, sum, norm.k);
}

template <typename T>
__global__ void long_forward_kernel(const T* __restrict__ x, T* __restrict__ y, Norm norm, unsigned blocks) {
  const int c = static_cast<int>(blockIdx.x % blocks * blockDim.x + threadIdx.x);
  const int64_t first = static_cast<int64_t>(blockIdx.x / blocks) * norm.C;
  if (c >= norm.C) return;
  const Floats<1> found = {{value_at(x + first + c) * inverse_power(long_row_scale(x + first, c, norm), norm.beta)}};
  found.store(y + first + c);
}

template <typename T>
__global__ void long_backward_kernel(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, Norm norm,
                                     unsigned blocks) {
  const int c = static_cast<int>(blockIdx.x % blocks * blockDim.x + threadIdx.x);
  const int64_t first = static_cast<int64_t>(blockIdx.x / blocks) * norm.C;
  if (c >= norm.C) return;
  const T *row = x + first, *gradient = dy + first;
  float sum = 0.0f;
  for (int i = max(0, c - norm.after); i <= min(norm.C - 1, c + norm.before); ++i) {
    const float scale = long_row_scale(row, i, norm);
    sum += value_at(gradient + i) * inverse_power(scale, norm.beta) * value_at(row + i) / scale;
  }
  const float direct = value_at(gradient + c) * inverse_power(long_row_scale(row, c, norm), norm.beta);
  const Floats<1> found = {{fmaf(-2.0f * norm.alpha * norm.beta * value_at(row + c), sum, direct)}};
  found.store(dx + first + c);
}

// ---- launchers ----

Norm norm_of(const LocalResponseNormShape& shape) {
  // A window never needs to reach beyond the row.
  const auto reach = [&](int64_t channels) { return static_cast<int>(min(channels, shape.C - 1)); };
  Norm norm;
  norm.rows = gpu::index_32(shape.rows, "local_response_norm: rows");
  norm.C = gpu::index_32(shape.C, "local_response_norm: channels");
  norm.before = reach(shape.size / 2);
  norm.after = reach((shape.size - 1) / 2);
  norm.k = shape.k;
  norm.alpha = shape.scale_alpha();
  norm.beta = shape.beta;
  return norm;
}

struct Blocks {
  dim3 blocks, threads;
  size_t shared_bytes;
};

// Rows of a block: about 256 threads, and whole warps where that can be.
template <int kChannels>
Blocks blocks_of(const Norm& norm) {
  const auto threads = static_cast<unsigned>(norm.C / kChannels);
  unsigned rows = max(1u, 256 / threads);
  for (unsigned fewer = rows; fewer > 0 && fewer > rows / 2; --fewer) {
    if (fewer * threads % 32 == 0) {
      rows = fewer;
      break;
    }
  }
  rows = min(rows, static_cast<unsigned>(norm.rows));
  return {dim3((static_cast<unsigned>(norm.rows) + rows - 1) / rows), dim3(threads, rows),
          size_t{rows} * static_cast<size_t>(norm.C) * sizeof(float)};
}

// Calls by_rows(channels a thread takes), or by_values(blocks a row, grid) where a row is longer than a block.
template <typename ByRows, typename ByValues>
void choose(const Norm& norm, std::initializer_list<const void*> tensors, ByRows&& by_rows, ByValues&& by_values) {
  gpu::with_channels(norm.C, tensors, [&](auto channels) {
    if (channels == 4 && norm.before <= kReach && norm.after <= kReach && norm.C / 4 <= kMaxThreads) {
      by_rows(channels);
    } else if (norm.C <= kMaxThreads) {
      by_rows(std::integral_constant<int, 1>());
    } else {
      const auto blocks = (static_cast<unsigned>(norm.C) + 255) / 256;
      const int grid = gpu::index_32(int64_t{norm.rows} * blocks, "local_response_norm: blocks");
      by_values(blocks, dim3(static_cast<unsigned>(grid)));
    }
  });
}

}  // namespace

template <typename T>
void local_response_norm_forward(const T* x, T* y, const LocalResponseNormShape& shape, Context& context) {
  shape.check();
  if (shape.rows == 0) return;
  const Norm norm = norm_of(shape);
  choose(
      norm, {x, y},
      [&](auto channels) {
        constexpr int kChannels = decltype(channels)::value;
        const Blocks b = blocks_of<kChannels>(norm);
        gpu::launch(forward_kernel<kChannels, T>, b.blocks, b.threads, b.shared_bytes, *context.stream, x, y, norm);
      },
      [&](unsigned blocks, dim3 grid) {
        gpu::launch(long_forward_kernel<T>, grid, 256, 0, *context.stream, x, y, norm, blocks);
      });
}

template <typename T>
void local_response_norm_backward(const T* x, const T* dy, T* dx, const LocalResponseNormShape& shape,
                                  Context& context) {
  shape.check();
  if (shape.rows == 0) return;
  const Norm norm = norm_of(shape);
  choose(
      norm, {x, dy, dx},
      [&](auto channels) {
        constexpr int kChannels = decltype(channels)::value;
        const Blocks b = blocks_of<kChannels>(norm);
        gpu::launch(backward_kernel<kChannels, T>, b.blocks, b.threads, b.shared_bytes, *context.stream, x, dy, dx,
                    norm);
      },
      [&](unsigned blocks, dim3 grid) {
        gpu::launch(long_backward_kernel<T>, grid, 256, 0, *context.stream, x, dy, dx, norm, blocks);
      });
}

#define STRIATE_INSTANTIATE(T)                                                                         \
  template void local_response_norm_forward<T>(const T*, T*, const LocalResponseNormShape&, Context&); \
  template void local_response_norm_backward<T>(const T*, const T*, T*, const LocalResponseNormShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
