// A row of logits by one group of threads: a warp where it fits 32 registers a lane (1024 classes), a block where it
// fits its registers (8192). Read once into registers; maximum, Σ exp(x − max), rank and the smoothing's mean are
// reductions of what is there. A longer row keeps a running maximum and a sum rescaled whenever it grows (Milakov &
// Gimelshein 2018, "Online normalizer calculation for softmax"): still one pass for the loss, two for probabilities.
// Bound by memory, 4 bytes a logit forward and 8 backward. Every sum is a fixed tree: the same bits every run.
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

#include <cmath>

#include "kernels/gpu/block.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/map.h"

namespace striate::cuda {

namespace {

constexpr int kWarp = 32;
constexpr int kBlock = 256;
constexpr int kWarpsPerBlock = 2;  // few, so that the rows of a small batch spread over the chip

template <int kGroup, typename T>
__device__ __forceinline__ T group_sum(T value) {
  if constexpr (kGroup == kWarp) {
    return gpu::warp_sum(value);
  } else {
    return gpu::block_sum(value);
  }
}

/// NaN where any value is.
template <int kGroup>
__device__ __forceinline__ float group_max(float value) {
  if constexpr (kGroup == kWarp) {
    return gpu::warp_max(value);
  } else {
    return gpu::block_max(value);
  }
}

/// The greater; NaN where either is.
__device__ __forceinline__ float max_or_nan(float a, float b) { return a >= b || a != a ? a : b; }

template <int kGroup>
__device__ __forceinline__ int thread_in_group() {
  return static_cast<int>(threadIdx.x % kGroup);
}

/// The row of this thread's group; not less than N where there is none.
template <int kGroup>
__device__ __forceinline__ int64_t row_of_group() {
  return kGroup == kWarp ? int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.x / kWarp : int64_t{blockIdx.x};
}

/// A group's row in registers, 4·kVectors values a thread, padded with −∞.
template <int kGroup, int kVectors, bool kAligned>
struct Row {
  static constexpr int kSize = 4 * kVectors;
  float value[kSize];

  static __device__ __forceinline__ int class_of(int i) {
    const int thread = thread_in_group<kGroup>();
    return kAligned ? 4 * (kGroup * (i / 4) + thread) + i % 4 : kGroup * i + thread;
  }

  template <typename T>
  __device__ __forceinline__ Row(const T* row, int classes) {
    if constexpr (kAligned) {
#pragma unroll
      for (int i = 0; i < kSize; i += 4) {
        const int c = class_of(i);
        const auto v = c < classes ? gpu::Floats<4>::load(row + c) : gpu::Floats<4>::all(-INFINITY);
        value[i] = v[0], value[i + 1] = v[1], value[i + 2] = v[2], value[i + 3] = v[3];
      }
    } else {
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        value[i] = class_of(i) < classes ? gpu::Floats<1>::load(row + class_of(i))[0] : -INFINITY;
      }
    }
  }

  template <typename T>
  __device__ __forceinline__ void store(T* row, int classes) const {
    if constexpr (kAligned) {
#pragma unroll
      for (int i = 0; i < kSize; i += 4) {
        const int c = class_of(i);
        if (c < classes) gpu::Floats<4>{{value[i], value[i + 1], value[i + 2], value[i + 3]}}.store(row + c);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        if (class_of(i) < classes) gpu::Floats<1>{{value[i]}}.store(row + class_of(i));
      }
    }
  }

  __device__ __forceinline__ float max() const {
    float found = value[0];
#pragma unroll
    for (int i = 1; i < kSize; ++i) found = max_or_nan(found, value[i]);
    return group_max<kGroup>(found);
  }

  /// Σ fn(i) over the row's classes, padding included where fn leaves it in.
  template <typename T, typename Fn>
  __device__ __forceinline__ T sum(Fn fn) const {
    T found = 0;
#pragma unroll
    for (int i = 0; i < kSize; ++i) found += fn(i);
    return group_sum<kGroup>(found);
  }
};

/// What the loss of one row is made of.
struct RowSummary {
  float max;           // NaN where any logit is
  float sum;           // Σ exp(x − max)
  float own;           // the true class's logit; unspecified where there is no such class
  float mean_shifted;  // mean of x − max; only where labels are smoothed
  int before;          // classes that come before the true one
};

struct LossOutputs {
  float *sample_loss, *row_max, *log_sum;
  int32_t* rank;
};

/// By one thread of the group.
__device__ __forceinline__ void write_loss(const LossOutputs& out, int64_t n, const RowSummary& row, int label,
                                           int classes, float smoothing) {
  const bool in_range = static_cast<unsigned>(label) < static_cast<unsigned>(classes);
  const float log_sum = fabsf(row.max) < INFINITY ? logf(row.sum) : NAN;
  float loss = (1.0f - smoothing) * (log_sum - (row.own - row.max));
  if (smoothing > 0.0f) loss += smoothing * (log_sum - row.mean_shifted);
  out.sample_loss[n] = in_range ? loss : NAN;
  out.row_max[n] = row.max;
  out.log_sum[n] = log_sum;
  out.rank[n] = in_range && row.max == row.max ? row.before : classes;
}

template <int kGroup, int kVectors, bool kAligned, typename T>
__global__ void __launch_bounds__(kBlock) loss_forward_kernel(const T* logits, const int32_t* labels, LossOutputs out,
                                                              int64_t N, int classes, float smoothing) {
  using Registers = Row<kGroup, kVectors, kAligned>;
  const int64_t n = row_of_group<kGroup>();
  if (n >= N) return;
  const Registers row(logits + n * classes, classes);
  const int label = labels[n];
  RowSummary summary;
  const float max = row.max();
  summary.max = max;
  summary.sum = row.template sum<float>([&](int i) { return expf(row.value[i] - max); });
  // One term is not 0.
  const float own =
      row.template sum<float>([&](int i) { return Registers::class_of(i) == label ? row.value[i] : 0.0f; });
  summary.own = own;
  summary.before = row.template sum<int>(
      [&](int i) { return row.value[i] > own || (row.value[i] == own && Registers::class_of(i) < label) ? 1 : 0; });
  summary.mean_shifted = 0.0f;
  if (smoothing > 0.0f) {
    const float shifted =
        row.template sum<float>([&](int i) { return Registers::class_of(i) < classes ? row.value[i] - max : 0.0f; });
    summary.mean_shifted = shifted / static_cast<float>(classes);
  }
  if (thread_in_group<kGroup>() == 0) write_loss(out, n, summary, label, classes, smoothing);
}

/// max and Σ exp(x − max) of what a thread has seen.
struct RunningSum {
  float max = -INFINITY;
  float sum = 0.0f;

  template <int kCount>
  __device__ __forceinline__ void add(const gpu::Floats<kCount>& part) {
    float next = max;
    for (const float v : part) next = max_or_nan(next, v);
    if (next == -INFINITY) return;
    if (next != max) sum *= expf(max - next);
    for (const float v : part) sum += expf(v - next);
    max = next;
  }

  /// Of all threads of the block, in each.
  __device__ __forceinline__ RunningSum of_block() const {
    RunningSum whole;
    whole.max = gpu::block_max(max);
    whole.sum = gpu::block_sum(max == -INFINITY ? 0.0f : sum * expf(max - whole.max));
    return whole;
  }
};

template <typename T>
__global__ void __launch_bounds__(kBlock)
    long_row_loss_forward_kernel(const T* logits, const int32_t* labels, LossOutputs out, int classes, float smoothing,
                                 bool vectors) {
  const int64_t n = blockIdx.x;
  const T* row = logits + n * classes;
  const int label = labels[n];
  const float own =
      static_cast<unsigned>(label) < static_cast<unsigned>(classes) ? gpu::Floats<1>::load(row + label)[0] : 0.0f;
  // x − max is summed as x − anchor, since the maximum is not known yet; a logit of the row keeps the digits.
  const float anchor = fabsf(own) < INFINITY ? own : 0.0f;
  RunningSum running;
  float from_anchor = 0.0f;
  int before = 0;
  gpu::for_each_part<4>(static_cast<int>(threadIdx.x), kBlock, classes, vectors, [&](int c, auto part) {
    part = part.load(row + c);
    running.add(part);
    for (int j = 0; j < part.count; ++j) {
      const float v = part[j];
      before += v > own || (v == own && c + j < label) ? 1 : 0;
      from_anchor += v - anchor;
    }
  });
  const RunningSum whole = running.of_block();
  from_anchor = gpu::block_sum(from_anchor);
  before = gpu::block_sum(before);
  if (threadIdx.x != 0) return;
  const float mean_shifted = from_anchor / static_cast<float>(classes) + (anchor - whole.max);
  write_loss(out, n, {whole.max, whole.sum, own, mean_shifted, before}, label, classes, smoothing);
}

// One block: a batch has hundreds of samples, and the launch is what it costs.
__global__ void __launch_bounds__(kBlock)
    mean_kernel(const float* sample_loss, const int32_t* rank, int64_t N, float* loss, StepResult* result) {
  float sum = 0.0f;
  int correct = 0;
  for (int64_t n = threadIdx.x; n < N; n += kBlock) {
    sum += sample_loss[n];
    correct += rank[n] == 0 ? 1 : 0;
  }
  sum = gpu::block_sum(sum);
  correct = gpu::block_sum(correct);
  if (threadIdx.x != 0) return;
  const float mean = N > 0 ? sum / static_cast<float>(N) : 0.0f;
  if (loss != nullptr) *loss = mean;
  if (result != nullptr) *result = {mean, correct};
}

template <int kGroup, int kVectors, bool kAligned, typename T>
__global__ void __launch_bounds__(kBlock) softmax_kernel(const T* logits, T* probabilities, int64_t N, int classes) {
  const int64_t n = row_of_group<kGroup>();
  if (n >= N) return;
  Row<kGroup, kVectors, kAligned> row(logits + n * classes, classes);
  const float max = row.max();
#pragma unroll
  for (int i = 0; i < row.kSize; ++i) row.value[i] = expf(row.value[i] - max);
  const float factor = 1.0f / row.template sum<float>([&](int i) { return row.value[i]; });
#pragma unroll
  for (int i = 0; i < row.kSize; ++i) row.value[i] *= factor;
  row.store(probabilities + n * classes, classes);
}

template <typename T>
__global__ void __launch_bounds__(kBlock)
    long_row_softmax_kernel(const T* logits, T* probabilities, int classes, bool vectors) {
  const T* row = logits + int64_t{blockIdx.x} * classes;
  T* out = probabilities + int64_t{blockIdx.x} * classes;
  const int thread = static_cast<int>(threadIdx.x);
  RunningSum running;
  gpu::for_each_part<4>(thread, kBlock, classes, vectors, [&](int c, auto part) { running.add(part.load(row + c)); });
  const RunningSum whole = running.of_block();
  const float factor = 1.0f / whole.sum;
  gpu::for_each_part<4>(thread, kBlock, classes, vectors, [&](int c, auto part) {
    part = part.load(row + c);
    for (float& v : part) v = expf(v - whole.max) * factor;
    part.store(out + c);
  });
}

template <int kGroup, typename T>
__global__ void __launch_bounds__(kBlock)
    loss_backward_kernel(const T* logits, const int32_t* labels, const float* row_max, const float* log_sum,
                         const float* dloss, T* dlogits, int64_t N, int classes, float smoothing, bool vectors) {
  const int64_t n = row_of_group<kGroup>();
  if (n >= N) return;
  const T* row = logits + n * classes;
  T* out = dlogits + n * classes;
  const int label = labels[n];
  const float max = row_max[n], log_of_sum = log_sum[n];
  const float scale =
      static_cast<unsigned>(label) < static_cast<unsigned>(classes) ? *dloss / static_cast<float>(N) : NAN;
  const float uniform = smoothing / static_cast<float>(classes);
  gpu::for_each_part<4>(thread_in_group<kGroup>(), kGroup, classes, vectors, [&](int c, auto part) {
    part = part.load(row + c);
    for (int j = 0; j < part.count; ++j) {
      const float p = expf((part[j] - max) - log_of_sum);
      const float target = c + j == label ? 1.0f - smoothing + uniform : uniform;
      part[j] = (p - target) * scale;
    }
    part.store(out + c);
  });
}

template <int kGroup>
unsigned blocks_for(int64_t rows) {
  return static_cast<unsigned>(kGroup == kWarp ? (rows + kWarpsPerBlock - 1) / kWarpsPerBlock : rows);
}
template <int kGroup>
constexpr unsigned kThreads = kGroup == kWarp ? kWarp* kWarpsPerBlock : kBlock;

template <int kGroup_, int kVectors_, bool kAligned_>
struct Shape {
  static constexpr int kGroup = kGroup_, kVectors = kVectors_;
  static constexpr bool kAligned = kAligned_;
};

/// Calls fn(Shape<…>()) for the threads and registers that hold a row; false where none does.
template <int kGroup, int kVectors, typename Fn>
bool try_shape(int64_t classes, bool aligned, Fn&& fn) {
  if (classes > 4 * kVectors * kGroup) return false;
  if (aligned) {
    fn(Shape<kGroup, kVectors, true>());
  } else {
    fn(Shape<kGroup, kVectors, false>());
  }
  return true;
}
template <typename Fn>
bool with_row_in_registers(int64_t classes, bool aligned, Fn&& fn) {
  return try_shape<kWarp, 1>(classes, aligned, fn) || try_shape<kWarp, 8>(classes, aligned, fn) ||
         try_shape<kBlock, 8>(classes, aligned, fn);
}

}  // namespace

template <typename T>
void softmax_forward(const T* logits, T* probabilities, int64_t N, int64_t classes, Context& context) {
  SoftmaxCrossEntropyShape{N, classes}.check();
  if (N == 0) return;
  const bool aligned = gpu::in_quads(classes, {logits, probabilities});
  const int count = static_cast<int>(classes);
  const bool launched = with_row_in_registers(classes, aligned, [&](auto s) {
    constexpr auto softmax = softmax_kernel<s.kGroup, s.kVectors, s.kAligned, T>;
    gpu::launch(softmax, blocks_for<s.kGroup>(N), kThreads<s.kGroup>, 0, *context.stream, logits, probabilities, N,
                count);
  });
  if (launched) return;
  gpu::launch(long_row_softmax_kernel<T>, blocks_for<kBlock>(N), kBlock, 0, *context.stream, logits, probabilities,
              count, aligned);
}

template <typename T>
void softmax_cross_entropy_forward(const T* logits, const int32_t* labels, Parameter<T>* loss,
                                   Parameter<T>* sample_loss, Parameter<T>* row_max, Parameter<T>* log_sum,
                                   int32_t* rank, StepResult* result, const SoftmaxCrossEntropyShape& shape,
                                   Context& context) {
  shape.check();
  const LossOutputs out{sample_loss, row_max, log_sum, rank};
  const bool aligned = gpu::in_quads(shape.classes, {logits});
  const int classes = static_cast<int>(shape.classes);
  if (shape.N > 0 && !with_row_in_registers(classes, aligned, [&](auto s) {
        constexpr auto loss_forward = loss_forward_kernel<s.kGroup, s.kVectors, s.kAligned, T>;
        gpu::launch(loss_forward, blocks_for<s.kGroup>(shape.N), kThreads<s.kGroup>, 0, *context.stream, logits, labels,
                    out, shape.N, classes, shape.smoothing);
      })) {
    gpu::launch(long_row_loss_forward_kernel<T>, blocks_for<kBlock>(shape.N), kBlock, 0, *context.stream, logits,
                labels, out, classes, shape.smoothing, aligned);
  }
  if (loss == nullptr && result == nullptr) return;
  gpu::launch(mean_kernel, 1, kBlock, 0, *context.stream, sample_loss, rank, shape.N, loss, result);
}

template <typename T>
void softmax_cross_entropy_backward(const T* logits, const int32_t* labels, const Parameter<T>* row_max,
                                    const Parameter<T>* log_sum, const Parameter<T>* dloss, T* dlogits,
                                    const SoftmaxCrossEntropyShape& shape, Context& context) {
  shape.check();
  if (shape.N == 0) return;
  const bool aligned = gpu::in_quads(shape.classes, {logits, dlogits});
  const int classes = static_cast<int>(shape.classes);
  if (shape.classes <= 1024) {
    gpu::launch(loss_backward_kernel<kWarp, T>, blocks_for<kWarp>(shape.N), kThreads<kWarp>, 0, *context.stream, logits,
                labels, row_max, log_sum, dloss, dlogits, shape.N, classes, shape.smoothing, aligned);
  } else {
    gpu::launch(loss_backward_kernel<kBlock, T>, blocks_for<kBlock>(shape.N), kThreads<kBlock>, 0, *context.stream,
                logits, labels, row_max, log_sum, dloss, dlogits, shape.N, classes, shape.smoothing, aligned);
  }
}

#define STRIATE_INSTANTIATE(T)                                                                                        \
  template void softmax_forward<T>(const T*, T*, int64_t, int64_t, Context&);                                         \
  template void softmax_cross_entropy_forward<T>(const T*, const int32_t*, Parameter<T>*, Parameter<T>*,              \
                                                 Parameter<T>*, Parameter<T>*, int32_t*, StepResult*,                 \
                                                 const SoftmaxCrossEntropyShape&, Context&);                          \
  template void softmax_cross_entropy_backward<T>(const T*, const int32_t*, const Parameter<T>*, const Parameter<T>*, \
                                                  const Parameter<T>*, T*, const SoftmaxCrossEntropyShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
