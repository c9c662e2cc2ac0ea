// Rows are cut into chunks of a fixed size that stays in cache: each gives its own mean and its squared deviations from
// it, and the chunks are put together in double (Chan, Golub & LeVeque 1983). So nothing cancels however far the mean
// lies from zero, and the bits do not depend on the number of threads. Bound by memory: train reads x twice, backward x
// and dy twice.
#include "kernels/batch_norm/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/batch_norm/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/batch_norm/cpu.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

struct Chunks {
  int64_t rows_each, count;
};

inline Chunks chunks_of(const BatchNormShape& shape) {
  // 64 KiB of x: half a core's smallest L2, so the second look at a chunk is free. At least 16 rows share the cost of
  // a chunk's result; at most 1,024 go into one float sum, whose error grows with them.
  constexpr int64_t kValues = 16384;
  const int64_t rows_each = std::clamp<int64_t>(kValues / shape.C, 16, 1024);
  return {rows_each, (shape.rows + rows_each - 1) / rows_each};
}

// Calls fn(chunk, first row, end row) in parallel. A second pass goes backwards: it finds in the caches what the first
// one read last.
enum class Order { forwards, backwards };
template <typename Fn>
void for_each_chunk(const BatchNormShape& shape, Order order, Context& context, Fn&& fn) {
  const Chunks chunks = chunks_of(shape);
  context.threads->parallel_for(chunks.count, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t chunk = order == Order::forwards ? i : chunks.count - 1 - i;
      const int64_t first = chunk * chunks.rows_each;
      fn(chunk, first, std::min(shape.rows, first + chunks.rows_each));
    }
    hwy::FlushStream();
  });
}

// Two sums over rows [first, end) for the channels of every vector: fn(c, i, sum1, sum2) adds element i, of channel c.
// Four vectors go side by side so that a row is read in runs of 256 bytes.
template <class D, typename Fn, typename Done>
HWY_INLINE void column_sums(D d, int64_t C, int64_t first, int64_t end, Fn&& fn, Done&& done) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  if constexpr (fills_four_vectors(d)) {
    for (; c + 4 * lanes <= C; c += 4 * lanes) {
      auto a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      for (int64_t row = first; row < end; ++row) {
        const int64_t i = row * C + c;
        fn(c, i, a0, b0);
        fn(c + lanes, i + lanes, a1, b1);
        fn(c + 2 * lanes, i + 2 * lanes, a2, b2);
        fn(c + 3 * lanes, i + 3 * lanes, a3, b3);
      }
      done(c, a0, b0);
      done(c + lanes, a1, b1);
      done(c + 2 * lanes, a2, b2);
      done(c + 3 * lanes, a3, b3);
    }
  }
  const auto one = [&](int64_t channel) HWY_ATTR {
    auto a = hn::Zero(d), b = a;
    for (int64_t row = first; row < end; ++row) fn(channel, row * C + channel, a, b);
    done(channel, a, b);
  };
  for (; c + lanes <= C; c += lanes) one(c);
  if (c < C) one(C - lanes);
}

// Per chunk and channel [chunks, C]: a rough mean, the mean deviation from it, and the squared deviations from the
// exact mean, rough + deviation.
struct ChunkStatistics {
  float *rough, *deviation, *squares;
};

template <typename T>
void chunk_statistics(const T* x, const ChunkStatistics& result, const BatchNormShape& shape, Context& context) {
  const int64_t C = shape.C;
  for_each_chunk(shape, Order::forwards, context, [&](int64_t chunk, int64_t first, int64_t end) HWY_ATTR {
    float* rough = result.rough + chunk * C;
    float* deviation = result.deviation + chunk * C;
    float* squares = result.squares + chunk * C;
    with_channel_vectors(C, [&](auto d) HWY_ATTR {
      const auto factor = hn::Set(d, 1.0f / static_cast<float>(end - first));
      // Summed from the chunk's first row on: the error of the rough mean is then small beside the deviations, not
      // beside the values, and a constant channel has none.
      const T* origin = x + first * C;
      column_sums(
          d, C, first, end,
          [&](int64_t c, int64_t i, auto& sum, auto&)
              HWY_ATTR { sum = hn::Add(sum, hn::Sub(load(d, x + i), load(d, origin + c))); },
          [&](int64_t c, auto sum, auto)
              HWY_ATTR { hn::StoreU(hn::MulAdd(sum, factor, load(d, origin + c)), d, rough + c); });
      column_sums(
          d, C, first, end,
          [&](int64_t c, int64_t i, auto& sum, auto& square) HWY_ATTR {
            const auto away = hn::Sub(load(d, x + i), hn::LoadU(d, rough + c));
            sum = hn::Add(sum, away);
            square = hn::MulAdd(away, away, square);
          },
          [&](int64_t c, auto sum, auto square) HWY_ATTR {
            const auto mean = hn::Mul(sum, factor);
            hn::StoreU(mean, d, deviation + c);
            hn::StoreU(hn::NegMulAdd(sum, mean, square), d, squares + c);
          });
    });
  });
}

// y = (x − centre)·factor + offset, channel by channel.
template <typename T>
void affine(const T* x, T* y, const float* centre, const float* factor, const float* offset,
            const BatchNormShape& shape, Context& context) {
  const int64_t C = shape.C;
  for_each_chunk(shape, Order::backwards, context, [&](int64_t, int64_t first, int64_t end) HWY_ATTR {
    with_channel_vectors(C, [&](auto d) HWY_ATTR {
      const bool streamed = streams_rows(d, y, shape.size(), C);
      for (int64_t row = first; row < end; ++row) {
        for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
          const auto away = hn::Sub(load(d, x + row * C + c), hn::LoadU(d, centre + c));
          store(d, hn::MulAdd(away, hn::LoadU(d, factor + c), hn::LoadU(d, offset + c)), y + row * C + c, streamed);
        });
      }
    });
  });
}

template <typename T>
void ForwardTrain(const T* x, const float* gamma, const float* beta, T* y, float* mean, float* inv_std,
                  float* running_mean, float* running_var, const BatchNormShape& shape, Context& context) {
  const int64_t C = shape.C;
  const Chunks chunks = chunks_of(shape);
  const auto rows = static_cast<double>(shape.rows);
  auto* means = static_cast<double*>(
      context.workspace->reserve(static_cast<size_t>(C) * (2 * sizeof(double) + 2 * sizeof(float)) +
                                 static_cast<size_t>(3 * chunks.count * C) * sizeof(float)));
  double* squares = means + C;
  auto* factor = reinterpret_cast<float*>(squares + C);
  float* offset = factor + C;
  const ChunkStatistics parts = {offset + C, offset + C + chunks.count * C, offset + C + 2 * chunks.count * C};
  chunk_statistics(x, parts, shape, context);

  const auto for_each_part = [&](auto&& fn) {
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
      const int64_t first = chunk * chunks.rows_each;
      const auto n = static_cast<double>(std::min(shape.rows, first + chunks.rows_each) - first);
      for (int64_t c = 0; c < C; ++c) fn(n, c, chunk * C + c);
    }
  };
  std::fill(means, means + 2 * C, 0.0);
  for_each_part([&](double n, int64_t c, int64_t i) { means[c] += n * (double{parts.rough[i]} + parts.deviation[i]); });
  for (int64_t c = 0; c < C; ++c) means[c] /= rows;
  for_each_part([&](double n, int64_t c, int64_t i) {
    const double away = double{parts.rough[i]} + parts.deviation[i] - means[c];
    // Rounding may leave a chunk's squares just below zero; std::max keeps a NaN, its first argument.
    squares[c] += std::max(double{parts.squares[i]}, 0.0) + n * away * away;
  });

  const double momentum = shape.momentum;
  for (int64_t c = 0; c < C; ++c) {
    const double inverse = 1.0 / std::sqrt(squares[c] / rows + double{shape.epsilon});
    mean[c] = static_cast<float>(means[c]);
    inv_std[c] = static_cast<float>(inverse);
    factor[c] = static_cast<float>(gamma[c] * inverse);
    // What rounding the mean to a float took away from it comes back here.
    offset[c] = static_cast<float>(beta[c] - (means[c] - double{mean[c]}) * gamma[c] * inverse);
    running_mean[c] = static_cast<float>((1.0 - momentum) * running_mean[c] + momentum * means[c]);
    running_var[c] = static_cast<float>((1.0 - momentum) * running_var[c] + momentum * squares[c] / (rows - 1.0));
  }
  affine(x, y, mean, factor, offset, shape, context);
}

template <typename T>
void ForwardEval(const T* x, const float* gamma, const float* beta, const float* running_mean, const float* running_var,
                 T* y, float* inv_std, const BatchNormShape& shape, Context& context) {
  float* factor = context.workspace->get<float>(shape.C);
  for (int64_t c = 0; c < shape.C; ++c) {
    const double inverse = 1.0 / std::sqrt(double{running_var[c]} + double{shape.epsilon});
    factor[c] = static_cast<float>(gamma[c] * inverse);
    if (inv_std != nullptr) inv_std[c] = static_cast<float>(inverse);
  }
  affine(x, y, running_mean, factor, beta, shape, context);
}

// dx = through_dy·dy + through_x·(x − mean) + constant, channel by channel.
template <typename T>
void Backward(const T* x, const T* dy, const float* gamma, const float* mean, const float* inv_std, T* dx,
              float* dgamma, float* dbeta, const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate,
              Context& context) {
  const int64_t C = shape.C;
  const Chunks chunks = chunks_of(shape);
  auto* sum_dy = static_cast<double*>(
      context.workspace->reserve(static_cast<size_t>(C) * (2 * sizeof(double) + 3 * sizeof(float)) +
                                 static_cast<size_t>(2 * chunks.count * C) * sizeof(float)));
  double* sum_dy_away = sum_dy + C;  // Σ dy·(x − mean)
  auto* through_dy = reinterpret_cast<float*>(sum_dy_away + C);
  float* through_x = through_dy + C;
  float* constant = through_x + C;
  float* part_dy = constant + C;  // [chunks, C]
  float* part_dy_away = part_dy + chunks.count * C;

  for_each_chunk(shape, Order::forwards, context, [&](int64_t chunk, int64_t first, int64_t end) HWY_ATTR {
    with_channel_vectors(C, [&](auto d) HWY_ATTR {
      column_sums(
          d, C, first, end,
          [&](int64_t c, int64_t i, auto& sum, auto& product) HWY_ATTR {
            const auto gradient = load(d, dy + i);
            sum = hn::Add(sum, gradient);
            product = hn::MulAdd(gradient, hn::Sub(load(d, x + i), hn::LoadU(d, mean + c)), product);
          },
          [&](int64_t c, auto sum, auto product) HWY_ATTR {
            hn::StoreU(sum, d, part_dy + chunk * C + c);
            hn::StoreU(product, d, part_dy_away + chunk * C + c);
          });
    });
  });
  std::fill(sum_dy, sum_dy + 2 * C, 0.0);
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    for (int64_t c = 0; c < C; ++c) {
      sum_dy[c] += part_dy[chunk * C + c];
      sum_dy_away[c] += part_dy_away[chunk * C + c];
    }
  }
  const bool add = accumulate == Accumulate::yes;
  for (int64_t c = 0; c < C; ++c) {
    const double inverse = inv_std[c], factor = gamma[c] * inverse, rows = static_cast<double>(shape.rows);
    if (dgamma != nullptr) dgamma[c] = static_cast<float>(sum_dy_away[c] * inverse + (add ? dgamma[c] : 0.0f));
    if (dbeta != nullptr) dbeta[c] = static_cast<float>(sum_dy[c] + (add ? dbeta[c] : 0.0f));
    through_dy[c] = static_cast<float>(factor);
    through_x[c] = batch_statistics ? static_cast<float>(-factor * inverse * inverse * sum_dy_away[c] / rows) : 0.0f;
    constant[c] = batch_statistics ? static_cast<float>(-factor * sum_dy[c] / rows) : 0.0f;
  }
  if (dx == nullptr) return;
  for_each_chunk(shape, Order::backwards, context, [&](int64_t, int64_t first, int64_t end) HWY_ATTR {
    with_channel_vectors(C, [&](auto d) HWY_ATTR {
      const bool streamed = streams_rows(d, dx, shape.size(), C);
      for (int64_t row = first; row < end; ++row) {
        for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
          const int64_t i = row * C + c;
          const auto away = hn::Sub(load(d, x + i), hn::LoadU(d, mean + c));
          const auto rest = hn::MulAdd(away, hn::LoadU(d, through_x + c), hn::LoadU(d, constant + c));
          store(d, hn::MulAdd(load(d, dy + i), hn::LoadU(d, through_dy + c), rest), dx + i, streamed);
        });
      }
    });
  });
}

STRIATE_STORAGE_TYPES(ForwardTrain);
STRIATE_STORAGE_TYPES(ForwardEval);
STRIATE_STORAGE_TYPES(Backward);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(ForwardTrain);
STRIATE_EXPORT(ForwardEval);
STRIATE_EXPORT(Backward);

template <typename T>
void batch_norm_forward_train(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta, T* y, Parameter<T>* mean,
                              Parameter<T>* inv_std, Parameter<T>* running_mean, Parameter<T>* running_var,
                              const BatchNormShape& shape, Context& context) {
  check_training(shape);
  STRIATE_FOR_TYPE(T, ForwardTrain)
  (x, gamma, beta, y, mean, inv_std, running_mean, running_var, shape, context);
}

template <typename T>
void batch_norm_forward_eval(const T* x, const Parameter<T>* gamma, const Parameter<T>* beta,
                             const Parameter<T>* running_mean, const Parameter<T>* running_var, T* y,
                             Parameter<T>* inv_std, const BatchNormShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, ForwardEval)(x, gamma, beta, running_mean, running_var, y, inv_std, shape, context);
}

template <typename T>
void batch_norm_backward(const T* x, const T* dy, const Parameter<T>* gamma, const Parameter<T>* mean,
                         const Parameter<T>* inv_std, T* dx, Parameter<T>* dgamma, Parameter<T>* dbeta,
                         const BatchNormShape& shape, bool batch_statistics, Accumulate accumulate, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, Backward)
  (x, dy, gamma, mean, inv_std, dx, dgamma, dbeta, shape, batch_statistics, accumulate, context);
}

#define STRIATE_INSTANTIATE(T)                                                                                       \
  template void batch_norm_forward_train<T>(const T*, const Parameter<T>*, const Parameter<T>*, T*, Parameter<T>*,   \
                                            Parameter<T>*, Parameter<T>*, Parameter<T>*, const BatchNormShape&,      \
                                            Context&);                                                               \
  template void batch_norm_forward_eval<T>(const T*, const Parameter<T>*, const Parameter<T>*, const Parameter<T>*,  \
                                           const Parameter<T>*, T*, Parameter<T>*, const BatchNormShape&, Context&); \
  template void batch_norm_backward<T>(const T*, const T*, const Parameter<T>*, const Parameter<T>*,                 \
                                       const Parameter<T>*, T*, Parameter<T>*, Parameter<T>*, const BatchNormShape&, \
                                       bool, Accumulate, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
