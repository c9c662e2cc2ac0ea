// One launch for all parameters: their addresses are an argument of the kernel, and a block finds its parameter and its
// chunk of it by the blocks that come before. Each element is read and written once, 16 bytes at a time: bound by
// memory. What changes from step to step is read from the device's memory. An element's new value depends on that
// element only, and the norm is summed by a tree of fixed shape: the same bits every run.
// Clipping is one launch more, of partial sums, which every block of the update adds up for itself.
#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/gpu/block.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/shared.h"

namespace striate::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 4096;       // elements a block updates: four vectors a thread
constexpr int kNormChunk = 16384;  // elements a block sums up at least …
constexpr int kNormSums = 1024;    // … and about as many sums at most: 8 KiB that each block of the update reads

// A kernel's arguments may take 4 KiB before CUDA 12.1; ResNet-18 has 62 parameters, ResNet-50 161.
constexpr int kUpdatesPerLaunch = 64;
constexpr int kGradientsPerLaunch = 192;

struct UpdateTable {
  ParameterUpdate<float> update[kUpdatesPerLaunch];
  unsigned first_block[kUpdatesPerLaunch + 1];  // of each parameter; the last entry used is the number of blocks
  int count;
};

struct GradientTable {
  const float* g[kGradientsPerLaunch];
  int64_t n[kGradientsPerLaunch];
  unsigned first_block[kGradientsPerLaunch + 1];
  int count;
  int chunk;  // elements a block sums up
};

/// Partial sums of squares of all gradients, and what is to be made of them; null: gradients are not measured.
struct NormSums {
  const double* sums;
  int count;
  float max_norm;
  float* norm;
};
static_assert(sizeof(UpdateTable) + 64 <= 4096 && sizeof(GradientTable) + 64 <= 4096);

/// The parameter of this block: the last whose first block is not after it.
template <typename Table>
__device__ __forceinline__ int parameter_of_block(const Table& table) {
  int low = 0, high = table.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table.first_block[middle] <= blockIdx.x) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/// What this block updates.
struct Chunk {
  float *w, *s1, *s2;
  const float* g;
  bfloat16* rounded;
  int n;
  float weight_decay;

  template <typename Part>
  __device__ __forceinline__ void store_weights(const Part& part, int i) const {
    part.store(w + i);
    if (rounded != nullptr) part.store(rounded + i);
  }

  /// fn(i, part) as for_each_part has it.
  template <typename Fn>
  __device__ __forceinline__ void for_each(Fn fn) const {
    gpu::for_each_part<4>(static_cast<int>(threadIdx.x), kThreads, n, gpu::aligned_16(w, g, s1, s2, rounded), fn);
  }
};

__device__ __forceinline__ Chunk chunk_of_block(const UpdateTable& table) {
  const int p = parameter_of_block(table);
  const int64_t begin = int64_t{blockIdx.x - table.first_block[p]} * kChunk;
  const ParameterUpdate<float>& u = table.update[p];
  return {u.w + begin,
          u.s1 != nullptr ? u.s1 + begin : nullptr,
          u.s2 != nullptr ? u.s2 + begin : nullptr,
          u.g + begin,
          u.rounded != nullptr ? u.rounded + begin : nullptr,
          static_cast<int>(u.n - begin < kChunk ? u.n - begin : kChunk),
          u.weight_decay};
}

/// What the gradients are multiplied by: the state's scale, less where their norm is above the greatest allowed. By all
/// threads of every block, from the same sums in the same order; the first block says what the norm was.
__device__ __forceinline__ float scale_of_gradients(const UpdateState* state, const NormSums& squares) {
  const float scale = state->gradient_scale;
  if (squares.sums == nullptr) return scale;
  STRIATE_SHARED(float, found_scale, [1]);
  double sum = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < squares.count; i += kThreads) sum += squares.sums[i];
  sum = gpu::block_sum(sum);
  if (threadIdx.x == 0) {
    const double found = fabs(static_cast<double>(scale)) * sqrt(sum);
    const auto norm = static_cast<float>(found);
    const bool clips = squares.max_norm > 0.0f && norm < INFINITY && found > squares.max_norm;
    found_scale[0] = clips ? static_cast<float>(scale * (squares.max_norm / found)) : scale;
    if (blockIdx.x == 0) *squares.norm = norm;
  }
  __syncthreads();
  return found_scale[0];
}

__global__ void __launch_bounds__(kThreads) sgd_kernel(const __grid_constant__ UpdateTable table, SgdOptions options,
                                                       const UpdateState* state, NormSums squares) {
  const float rate = state->learning_rate, gradient_scale = scale_of_gradients(state, squares);
  const Chunk chunk = chunk_of_block(table);
  chunk.for_each([=](int i, auto part) {
    auto w = part.load(chunk.w + i), v = part;
    const auto gradient = part.load(chunk.g + i);
    if (chunk.s1 != nullptr) v = part.load(chunk.s1 + i);
    for (int j = 0; j < part.count; ++j) {
      const float g = chunk.weight_decay * w[j] + gradient_scale * gradient[j];
      const float carried = chunk.s1 != nullptr ? options.momentum * v[j] : 0.0f;
      if (options.paper_update) {
        // µv − λεw − εg = µv − ε(g + λw)
        v[j] = carried - rate * g;
        w[j] += v[j];
      } else {
        v[j] = carried + g;
        w[j] -= rate * (options.nesterov ? options.momentum * v[j] + g : v[j]);
      }
    }
    if (chunk.s1 != nullptr) v.store(chunk.s1 + i);
    chunk.store_weights(w, i);
  });
}

// 1 − βᵗ from log β: where β is near 1 and t small, βᵗ itself would leave few digits.
__device__ __forceinline__ float bias_correction(float log_beta, int64_t t) {
  return -expm1f(static_cast<float>(t) * log_beta);
}

__global__ void __launch_bounds__(kThreads)
    adam_kernel(const __grid_constant__ UpdateTable table, AdamOptions options, float log_beta1, float log_beta2,
                const UpdateState* state, NormSums squares) {
  const float gradient_scale = scale_of_gradients(state, squares);
  const Chunk chunk = chunk_of_block(table);
  // ε·m̂/(√v̂ + eps) with both corrections as factors.
  const float rate = state->learning_rate / bias_correction(log_beta1, state->step + 1);
  const float root_factor = 1.0f / sqrtf(bias_correction(log_beta2, state->step + 1));
  const float decay = options.decoupled ? 0.0f : chunk.weight_decay;
  const float shrink = options.decoupled ? state->learning_rate * chunk.weight_decay : 0.0f;
  chunk.for_each([=](int i, auto part) {
    auto w = part.load(chunk.w + i), m = part.load(chunk.s1 + i), v = part.load(chunk.s2 + i);
    const auto gradient = part.load(chunk.g + i);
    for (int j = 0; j < part.count; ++j) {
      const float g = decay * w[j] + gradient_scale * gradient[j];
      m[j] = options.beta1 * m[j] + (1.0f - options.beta1) * g;
      v[j] = options.beta2 * v[j] + (1.0f - options.beta2) * (g * g);
      const float divisor = sqrtf(v[j]) * root_factor + options.eps;
      w[j] = (w[j] - shrink * w[j]) - rate * (m[j] / divisor);
    }
    m.store(chunk.s1 + i);
    v.store(chunk.s2 + i);
    chunk.store_weights(w, i);
  });
}

__global__ void __launch_bounds__(kThreads)
    rmsprop_kernel(const __grid_constant__ UpdateTable table, RmspropOptions options, const UpdateState* state,
                   NormSums squares) {
  const float rate = state->learning_rate, gradient_scale = scale_of_gradients(state, squares);
  const Chunk chunk = chunk_of_block(table);
  const bool heavy = options.momentum > 0.0f;
  chunk.for_each([=](int i, auto part) {
    auto w = part.load(chunk.w + i), s = part.load(chunk.s1 + i), b = part;
    const auto gradient = part.load(chunk.g + i);
    if (heavy) b = part.load(chunk.s2 + i);
    for (int j = 0; j < part.count; ++j) {
      const float g = chunk.weight_decay * w[j] + gradient_scale * gradient[j];
      s[j] = options.alpha * s[j] + (1.0f - options.alpha) * (g * g);
      const float step = g / (sqrtf(s[j]) + options.eps);
      b[j] = heavy ? options.momentum * b[j] + step : step;
      w[j] -= rate * b[j];
    }
    s.store(chunk.s1 + i);
    if (heavy) b.store(chunk.s2 + i);
    chunk.store_weights(w, i);
  });
}

// sums[block] = Σ g² of the block's chunk. In double, whose squares neither overflow nor round where a float is finite:
// a conversion and a multiply-add for 4 bytes read.
__global__ void __launch_bounds__(kThreads)
    sum_of_squares_kernel(const __grid_constant__ GradientTable table, double* sums) {
  const int p = parameter_of_block(table);
  const int64_t begin = int64_t{blockIdx.x - table.first_block[p]} * table.chunk;
  const float* g = table.g[p] + begin;
  const int n = static_cast<int>(table.n[p] - begin < table.chunk ? table.n[p] - begin : table.chunk);
  double sum = 0.0;
  gpu::for_each_part<4>(static_cast<int>(threadIdx.x), kThreads, n, gpu::aligned_16(g), [&](int i, auto part) {
    part = part.load(g + i);
    for (const float v : part) sum += static_cast<double>(v) * static_cast<double>(v);
  });
  sum = gpu::block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

unsigned blocks_of(int64_t n, int64_t chunk) { return static_cast<unsigned>((n + chunk - 1) / chunk); }

// Calls fn(table, blocks) for as many tables as hold all parameters that have elements.
template <typename Fn>
void for_each_table(const ParameterUpdate<float>* updates, int64_t count, Fn&& fn) {
  for (int64_t u = 0; u < count;) {
    UpdateTable table{};
    unsigned blocks = 0;
    for (; u < count && table.count < kUpdatesPerLaunch; ++u) {
      if (updates[u].n == 0) continue;
      table.update[table.count] = updates[u];
      table.first_block[table.count++] = blocks;
      blocks += blocks_of(updates[u].n, kChunk);
    }
    table.first_block[table.count] = blocks;
    if (blocks > 0) fn(table, blocks);
  }
}

// Elements a block sums up, a multiple of what its threads read at once.
int chunk_of_norm(const ParameterUpdate<float>* updates, int64_t count) {
  int64_t all = 0;
  for (int64_t u = 0; u < count; ++u) all += updates[u].n;
  constexpr int64_t kStep = 4 * kThreads;
  return static_cast<int>(std::max<int64_t>(kNormChunk, (all / kNormSums + kStep) / kStep * kStep));
}

// Launches the sums that `clipping` asks for.
NormSums sum_squares(const ParameterUpdate<float>* updates, int64_t count, const Clipping& clipping, Context& context) {
  if (clipping.norm == nullptr) return {};
  GradientTable table{};
  table.chunk = chunk_of_norm(updates, count);
  int64_t all = 0;
  for (int64_t u = 0; u < count; ++u) all += blocks_of(updates[u].n, table.chunk);
  if (all == 0) {  // no block of an update will tell
    gpu::set(clipping.norm, 0, sizeof(float), *context.stream);
    return {};
  }
  double* sums = context.workspace->get<double>(all);
  int64_t done = 0;
  for (int64_t u = 0; u < count;) {
    unsigned blocks = 0;
    table.count = 0;
    for (; u < count && table.count < kGradientsPerLaunch; ++u) {
      if (updates[u].n == 0) continue;
      table.g[table.count] = updates[u].g;
      table.n[table.count] = updates[u].n;
      table.first_block[table.count++] = blocks;
      blocks += blocks_of(updates[u].n, table.chunk);
    }
    table.first_block[table.count] = blocks;
    if (blocks > 0) gpu::launch(sum_of_squares_kernel, blocks, kThreads, 0, *context.stream, table, sums + done);
    done += blocks;
  }
  return {sums, static_cast<int>(all), clipping.max_norm, clipping.norm};
}

}  // namespace

void sgd_update(const ParameterUpdate<float>* updates, int64_t count, const SgdOptions& options,
                const UpdateState* state, const Clipping& clipping, Context& context) {
  const NormSums squares = sum_squares(updates, count, clipping, context);
  for_each_table(updates, count, [&](const UpdateTable& table, unsigned blocks) {
    gpu::launch(sgd_kernel, blocks, kThreads, 0, *context.stream, table, options, state, squares);
  });
}

void adam_update(const ParameterUpdate<float>* updates, int64_t count, const AdamOptions& options,
                 const UpdateState* state, const Clipping& clipping, Context& context) {
  const auto log_beta1 = static_cast<float>(std::log(double{options.beta1}));
  const auto log_beta2 = static_cast<float>(std::log(double{options.beta2}));
  const NormSums squares = sum_squares(updates, count, clipping, context);
  for_each_table(updates, count, [&](const UpdateTable& table, unsigned blocks) {
    gpu::launch(adam_kernel, blocks, kThreads, 0, *context.stream, table, options, log_beta1, log_beta2, state,
                squares);
  });
}

void rmsprop_update(const ParameterUpdate<float>* updates, int64_t count, const RmspropOptions& options,
                    const UpdateState* state, const Clipping& clipping, Context& context) {
  const NormSums squares = sum_squares(updates, count, clipping, context);
  for_each_table(updates, count, [&](const UpdateTable& table, unsigned blocks) {
    gpu::launch(rmsprop_kernel, blocks, kThreads, 0, *context.stream, table, options, state, squares);
  });
}

}  // namespace striate::cuda
