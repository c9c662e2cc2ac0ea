// A linear layer's backward for a handful of rows, bound by memory: one pass over the weights makes dx, and dw or, in
// its place, the optimizer's update, whose gradient then never leaves the cache. Four rows of w at a time, in pieces of
// 512 columns: dx takes its share of the old weights, the gradient is made beside it, the update moves the weights. A
// task owns a range of rows of w, which it reads as one stream, and sums dx on its own; the sums are added in order.
// The ranges depend on the shape alone: the same bits for any number of threads, with or without dw or an update.
#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/gemm/blocking.h"
#include "kernels/linear/few_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/few_rows_backward.cpp"
#include "kernels/simd.h"

#include <hwy/cache_control.h>

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kPiece = 512;  // columns: with 8 rows of x and of dx, 4 of w and the gradient 42 KB

/// dx[n][c] (+)= Σ_j dy[n][k + j]·w[k + j][c] for R rows of w and n columns from c on.
template <int N, int R>
HWY_INLINE void add_to_dx(const FewRowsPart& o, int64_t k, int64_t c, int64_t columns, bool first) {
  const Floats d;
  FloatVector factor[N][R];
  for (int n = 0; n < N; ++n) {
    for (int j = 0; j < R; ++j) factor[n][j] = hn::Set(d, o.dy[n * o.K + k + j]);
  }
  const float* w = o.w + k * o.C + c;
  float* dx = o.dx + c;
  for_each_vector(0, columns, [&](int64_t i, auto part) HWY_ATTR {
    FloatVector row[R];
#pragma GCC unroll 4
    for (int j = 0; j < R; ++j) row[j] = part.load(w + j * o.C + i);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      FloatVector sum = first ? hn::Zero(d) : part.load(dx + n * o.stride + i);
#pragma GCC unroll 4
      for (int j = 0; j < R; ++j) sum = hn::MulAdd(factor[n][j], row[j], sum);
      part.store(sum, dx + n * o.stride + i);
    }
  });
}

/// out[i] (+)= Σ_n dy[n][k]·x[n][c + i].
template <int N, class Store>
HWY_INLINE void gradient(const FewRowsPart& o, int64_t k, int64_t c, int64_t columns, float* out, Store store) {
  const Floats d;
  FloatVector factor[N];
  for (int n = 0; n < N; ++n) factor[n] = hn::Set(d, o.dy[n * o.K + k]);
  const float* x = o.x + c;
  for_each_vector(0, columns, [&](int64_t i, auto part) HWY_ATTR {
    FloatVector sum = o.add ? part.load(out + i) : hn::Zero(d);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sum = hn::MulAdd(factor[n], part.load(x + n * o.stride + i), sum);
    store(part, sum, out + i);
  });
}

template <int N, int R>
void rows(const FewRowsPart& o, int64_t k, bool first) {
  const auto keep = [](auto part, FloatVector v, float* to) HWY_ATTR { part.store(v, to); };
  const auto stream = [](auto, FloatVector v, float* to) HWY_ATTR { hn::Stream(v, Floats(), to); };
  HWY_ALIGN float piece[kPiece];
  for (int64_t c = 0; c < o.C; c += kPiece) {
    const int64_t columns = std::min(kPiece, o.C - c);
    if (o.dx != nullptr) add_to_dx<N, R>(o, k, c, columns, first);
    for (int j = 0; j < R; ++j) {
      const int64_t begin = (k + j) * o.C + c;
      if (o.rule != nullptr) {
        gradient<N>(o, k + j, c, columns, piece, keep);
        const ParameterUpdate<float>& u = *o.update;
        update_run(*o.rule, {u.w + begin, piece, u.s1 != nullptr ? u.s1 + begin : nullptr,
                             u.s2 != nullptr ? u.s2 + begin : nullptr, columns, u.weight_decay});
      } else if (o.dw != nullptr && o.stream) {
        gradient<N>(o, k + j, c, columns, o.dw + begin, stream);
      } else if (o.dw != nullptr) {
        gradient<N>(o, k + j, c, columns, o.dw + begin, keep);
      }
    }
  }
}

template <int N>
void part(const FewRowsPart& o, int64_t begin, int64_t end) {
  int64_t k = begin;
  for (; k + 4 <= end; k += 4) rows<N, 4>(o, k, k == begin);
  for (; k < end; ++k) rows<N, 1>(o, k, k == begin);
  if (o.stream) hwy::FlushStream();
}

using Part = void (*)(const FewRowsPart&, int64_t, int64_t);

template <int... sizes>
Part choose(int64_t N, std::integer_sequence<int, sizes...>) {
  static constexpr Part kPart[] = {&part<sizes + 1>...};
  return kPart[N - 1];
}

Part few_rows_part(int64_t N) { return choose(N, std::make_integer_sequence<int, static_cast<int>(kFewRows)>()); }

/// to[i] = Σ_p parts[p·stride + i], p ascending.
void sum_parts(const float* parts, int64_t count, int64_t stride, int64_t n, float* to) {
  for_each_vector(0, n, [&](int64_t i, auto part) HWY_ATTR {
    FloatVector sum = part.load(parts + i);
    for (int64_t p = 1; p < count; ++p) sum = hn::Add(sum, part.load(parts + p * stride + i));
    part.store(sum, to + i);
  });
}

int64_t vector_bytes() { return 4 * float_lanes(); }

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(few_rows_part);
HWY_EXPORT(sum_parts);
HWY_EXPORT(vector_bytes);

void linear_backward_few_rows(const FewRowsBackward& b, const LinearShape& shape, Context& context) {
  constexpr int64_t kPartBytes = 1 << 18, kMostParts = 16;  // each part of dx is as large as dx
  constexpr int64_t kStreamBytes = 1 << 24;  // a dw that no cache would hold until it is read: 42 for 33 GB/s written
  const int64_t weight_bytes = 4 * shape.K * shape.C;
  const int64_t part_rows = std::max(gemm::ceil_div(shape.K, kMostParts), kPartBytes / (4 * shape.C) + 1);
  const gemm::Parts parts(shape.K, 4, gemm::round_up(part_rows, 4));
  const int64_t stride = gemm::padded_stride(shape.C);  // rows of a power of two would meet in one set of the L1 cache
  const int64_t part_floats = shape.N * stride;
  float* const x = context.workspace->get<float>(part_floats * (parts.count + 1));
  float* const dx = x + part_floats;
  if (b.x != nullptr) {
    for (int64_t n = 0; n < shape.N; ++n) {
      std::memcpy(x + n * stride, b.x + n * shape.C, static_cast<size_t>(shape.C) * sizeof(float));
    }
  }

  FewRowsPart operands{x,
                       b.dy,
                       b.w,
                       nullptr,
                       b.dw,
                       b.rule,
                       &b.update,
                       shape.C,
                       shape.K,
                       stride,
                       b.rule == nullptr && b.accumulate == Accumulate::yes,
                       false};
  const int64_t vector = HWY_DYNAMIC_DISPATCH(vector_bytes)();
  operands.stream = b.rule == nullptr && b.dw != nullptr && !operands.add && weight_bytes >= kStreamBytes &&
                    4 * shape.C % vector == 0 && reinterpret_cast<uintptr_t>(b.dw) % vector == 0;
  const auto part = HWY_DYNAMIC_DISPATCH(few_rows_part)(shape.N);
  context.threads->run(parts.count, [&](int64_t i) {
    FewRowsPart own = operands;
    if (b.dx != nullptr) own.dx = dx + i * part_floats;
    part(own, parts.begin(i), parts.end(i));
  });
  if (b.dx == nullptr) return;
  const int64_t pieces = gemm::ceil_div(shape.C, 2048);
  context.threads->parallel_for(shape.N * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / pieces, c = i % pieces * 2048;
      HWY_DYNAMIC_DISPATCH(sum_parts)
      (dx + n * stride + c, parts.count, part_floats, std::min<int64_t>(2048, shape.C - c), b.dx + n * shape.C + c);
    }
  });
}

}  // namespace striate::cpu
#endif
