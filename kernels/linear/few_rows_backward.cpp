// A linear layer's backward for a handful of rows, bound by memory: one pass over the weights makes dx, and dw or, in
// its place, the optimizer's update, whose gradient then never leaves the registers. Four rows of w at a time: dx takes
// its share of the old weights, the gradient is made beside it, the update moves the weights. A task owns a range of
// rows of w, which it reads as one stream, and sums dx on its own; the sums are added in order. The ranges depend on
// the shape alone: the same bits for any number of threads, with or without dw or an update.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/gemm/blocking.h"
#include "kernels/linear/few_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/few_rows_backward.cpp"
#include "kernels/simd.h"

#include "kernels/optimizer/update_step.h"

#include <hwy/cache_control.h>

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

/// What becomes of the gradient of row j of w; `w` is the row's vector where kReadsW.
struct NoGradient {
  static constexpr bool kReadsW = true, kWanted = false;
};
struct StoreGradient {
  static constexpr bool kReadsW = false, kWanted = true;
  float* dw;
  bool add, stream;

  template <class Part>
  HWY_INLINE FloatVector start(Part part, int64_t i) const {
    return add ? part.load(dw + i) : hn::Zero(Floats());
  }
  template <class Part>
  HWY_INLINE void take(Part part, int64_t i, FloatVector, FloatVector gradient) const {
    if (stream) {
      hn::Stream(gradient, Floats(), dw + i);
    } else {
      part.store(gradient, dw + i);
    }
  }
};
/// Of weights of type T: the floats that move, or their bfloat16.
template <typename T, class Step>
struct UpdateWeights {
  static constexpr bool kReadsW = true, kWanted = true;
  Step step;
  ParameterUpdate<float> update;

  template <class Part>
  HWY_INLINE FloatVector start(Part, int64_t) const {
    return hn::Zero(Floats());
  }
  template <class Part>
  HWY_INLINE void take(Part part, int64_t i, FloatVector w, FloatVector gradient) const {
    step(part, i, std::is_same_v<T, float> ? w : part.load(update.w + i), gradient, update);
  }
};

/// R rows of w from row k on: dx[n] (+)= Σ_j dy[n][k + j]·w[k + j], and of each row the gradient Σ_n dy[n][k + j]·x[n].
/// All in one loop: a pass for each, over pieces in the cache, had fewer loads from memory in flight and took 1.4 times
/// as long. Only for N = 1, `kOneRow`, are dy's values in registers throughout: without them dx takes 1.25 times as
/// long, while more rows hide the loads.
template <bool kOneRow, int R, typename T, class Gradient>
HWY_NOINLINE void rows(const FewRowsPart<T>& o, int64_t k, bool first, const Gradient& sink) {
  const Floats d;
  const Gradient gradient = sink;  // a copy that stores to memory cannot change
  const float* const x = o.x;
  float* const dx = o.dx;
  const float* const dy = o.dy + k;
  const int64_t N = kOneRow ? 1 : o.N, C = o.C, K = o.K, stride = o.stride;
  FloatVector only[R];
  for (int j = 0; kOneRow && j < R; ++j) only[j] = hn::Set(d, dy[j]);
  const auto dy_at = [&](int64_t n, int j) HWY_ATTR { return kOneRow ? only[j] : hn::Set(d, dy[n * K + j]); };
  for_each_vector(0, C, [&](int64_t c, auto part) HWY_ATTR {
    FloatVector w[R], g[R];
#pragma GCC unroll 4
    for (int j = 0; j < R; ++j) {
      if constexpr (Gradient::kReadsW) w[j] = part.load(o.w + (k + j) * C + c);
      if constexpr (Gradient::kWanted) g[j] = gradient.start(part, (k + j) * C + c);
    }
    for (int64_t n = 0; n < N; ++n) {
      if constexpr (Gradient::kReadsW) {
        FloatVector sum = first ? hn::Zero(d) : part.load(dx + n * stride + c);
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) sum = hn::MulAdd(dy_at(n, j), w[j], sum);
        part.store(sum, dx + n * stride + c);
      }
      if constexpr (Gradient::kWanted) {
        const FloatVector v = part.load(x + n * stride + c);
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) g[j] = hn::MulAdd(dy_at(n, j), v, g[j]);
      }
    }
    if constexpr (Gradient::kWanted) {
#pragma GCC unroll 4
      for (int j = 0; j < R; ++j) gradient.take(part, (k + j) * C + c, w[j], g[j]);
    }
  });
}

template <typename T, class Gradient>
HWY_INLINE void all_rows(const FewRowsPart<T>& o, int64_t begin, int64_t end, const Gradient& gradient) {
  int64_t k = begin;
  if (o.N == 1) {
    for (; k + 4 <= end; k += 4) rows<true, 4>(o, k, k == begin, gradient);
  } else {
    for (; k + 4 <= end; k += 4) rows<false, 4>(o, k, k == begin, gradient);
  }
  for (; k < end; ++k) rows<false, 1>(o, k, k == begin, gradient);
}

template <typename T>
HWY_INLINE void part(const FewRowsPart<T>& o, int64_t begin, int64_t end) {
  if (o.rule != nullptr) {
    with_step(*o.rule, o.update->weight_decay, [&](const auto& step) HWY_ATTR {
      all_rows(o, begin, end, UpdateWeights<T, std::decay_t<decltype(step)>>{step, *o.update});
    });
  } else if (o.dw != nullptr) {
    all_rows(o, begin, end, StoreGradient{o.dw, o.add, o.stream});
    if (o.stream) hwy::FlushStream();
  } else {
    all_rows(o, begin, end, NoGradient{});
  }
}

void part_of_floats(const FewRowsPart<float>& o, int64_t begin, int64_t end) { part(o, begin, end); }
void part_of_bfloat16(const FewRowsPart<bfloat16>& o, int64_t begin, int64_t end) { part(o, begin, end); }

/// to[i] = Σ_p parts[p·stride + i], p ascending.
template <typename T>
HWY_INLINE void sum_all(const float* parts, int64_t count, int64_t stride, int64_t n, T* to) {
  for_each_vector(0, n, [&](int64_t i, auto part) HWY_ATTR {
    FloatVector sum = part.load(parts + i);
    for (int64_t p = 1; p < count; ++p) sum = hn::Add(sum, part.load(parts + p * stride + i));
    part.store(sum, to + i);
  });
}

void sum_parts(const float* parts, int64_t count, int64_t stride, int64_t n, float* to) {
  sum_all(parts, count, stride, n, to);
}
void sum_and_round(const float* parts, int64_t count, int64_t stride, int64_t n, bfloat16* to) {
  sum_all(parts, count, stride, n, to);
}

int64_t vector_bytes() { return 4 * float_lanes(); }

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(part_of_floats);
HWY_EXPORT(part_of_bfloat16);
HWY_EXPORT(sum_parts);
HWY_EXPORT(sum_and_round);
HWY_EXPORT(vector_bytes);

template <typename T>
void linear_backward_few_rows(const FewRowsBackward<T>& b, const LinearShape& shape, Context& context) {
  constexpr int64_t kPartBytes = 1 << 18, kMostParts = 16;  // each part of dx is as large as dx
  constexpr int64_t kStreamBytes = 1 << 24;  // a dw that no cache would hold until it is read: 42 for 33 GB/s written
  const int64_t weight_bytes = 4 * shape.K * shape.C;
  const int64_t part_rows = std::max(gemm::ceil_div(shape.K, kMostParts), kPartBytes / (4 * shape.C) + 1);
  const gemm::Parts parts(shape.K, 4, gemm::round_up(part_rows, 4));
  const int64_t stride = gemm::padded_stride(shape.C);  // rows of a power of two would meet in one set of the L1 cache
  const int64_t part_floats = shape.N * stride;
  constexpr bool kFloats = std::is_same_v<T, float>;
  const int64_t dy_floats = kFloats ? 0 : gemm::round_up(shape.N * shape.K, 16);
  float* const x = context.workspace->get<float>(part_floats * (parts.count + 1) + dy_floats);
  float* const dx = x + part_floats;
  const float* dy = nullptr;
  if constexpr (kFloats) {
    dy = b.dy;
  } else {
    float* const floats = dx + part_floats * parts.count;
    widen_bfloat16(b.dy, shape.N * shape.K, floats);
    dy = floats;
  }
  for (int64_t n = 0; b.x != nullptr && n < shape.N; ++n) {
    if constexpr (kFloats) {
      std::memcpy(x + n * stride, b.x + n * shape.C, static_cast<size_t>(shape.C) * sizeof(float));
    } else {
      widen_bfloat16(b.x + n * shape.C, shape.C, x + n * stride);
    }
  }

  FewRowsPart<T> operands{x,       dy,      b.w,       nullptr,
                          b.dw,    b.rule,  &b.update, shape.N,
                          shape.C, shape.K, stride,    b.rule == nullptr && b.accumulate == Accumulate::yes,
                          false};
  const int64_t vector = HWY_DYNAMIC_DISPATCH(vector_bytes)();
  operands.stream = b.rule == nullptr && b.dw != nullptr && !operands.add && weight_bytes >= kStreamBytes &&
                    4 * shape.C % vector == 0 && reinterpret_cast<uintptr_t>(b.dw) % vector == 0;
  void (*part)(const FewRowsPart<T>&, int64_t, int64_t) = nullptr;
  if constexpr (kFloats) {
    part = HWY_DYNAMIC_DISPATCH(part_of_floats);
  } else {
    part = HWY_DYNAMIC_DISPATCH(part_of_bfloat16);
  }
  context.threads->run(parts.count, [&](int64_t i) {
    FewRowsPart<T> own = operands;
    own.dx = dx + i * part_floats;  // an update makes dx where nobody wants it too: the time goes into memory
    part(own, parts.begin(i), parts.end(i));
  });
  if (b.dx == nullptr) return;
  const int64_t pieces = gemm::ceil_div(shape.C, 2048);
  context.threads->parallel_for(shape.N * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / pieces, c = i % pieces * 2048;
      const float* const from = dx + n * stride + c;
      T* const to = b.dx + n * shape.C + c;
      const int64_t count = std::min<int64_t>(2048, shape.C - c);
      if constexpr (kFloats) {
        HWY_DYNAMIC_DISPATCH(sum_parts)(from, parts.count, part_floats, count, to);
      } else {
        HWY_DYNAMIC_DISPATCH(sum_and_round)(from, parts.count, part_floats, count, to);
      }
    }
  });
}

template void linear_backward_few_rows(const FewRowsBackward<float>&, const LinearShape&, Context&);
template void linear_backward_few_rows(const FewRowsBackward<bfloat16>&, const LinearShape&, Context&);

}  // namespace striate::cpu
#endif
