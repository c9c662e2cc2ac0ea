// A pixel at a time: its squares go into a row with zeros on both sides, so that a window's sum is `size` shifted
// vectors. Forward reads and writes each value once; the power costs two inverse square roots where β = 3/4.
#include "kernels/local_response_norm/local_response_norm.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/local_response_norm/cpu.cpp"
#include "kernels/simd.h"
// After simd.h, which decides the targets.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

// 1/√s: on x86 the hardware's estimate (12 bits or 14) and a Newton step, good to 2e-7, at a fraction of the cost of a
// square root and a division.
template <class D>
HWY_INLINE hn::Vec<D> inverse_root(D d, hn::Vec<D> s) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  const auto r = hn::ApproximateReciprocalSqrt(s);
  const auto half = hn::Mul(hn::Mul(hn::Set(d, 0.5f), s), r);
  return hn::Mul(r, hn::NegMulAdd(half, r, hn::Set(d, 1.5f)));
#else
  return hn::Div(hn::Set(d, 1.0f), hn::Sqrt(s));
#endif
}

// s^−β and 1/s, s > 0.
template <class D>
struct InversePowers {
  hn::Vec<D> power, reciprocal;
};

// s^exponent. Not inlined, for the sake of the compile time: it stands in four loops of three widths.
template <class D>
HWY_NOINLINE hn::Vec<D> raised(D d, hn::Vec<D> s, float exponent) {
  return hn::Exp(d, hn::Mul(hn::Set(d, exponent), hn::Log(d, s)));
}

template <class D>
HWY_INLINE InversePowers<D> inverse_powers(D d, hn::Vec<D> s, float beta) {
  const auto one = hn::Set(d, 1.0f);
  if (beta == 0.75f) {
    // s^−1/2·s^−1/4, and s^−1/4 = √(s^−1/2) = s^−1/2·(s^−1/2)^−1/2
    const auto r = inverse_root(d, s), reciprocal = hn::Mul(r, r);
    return {hn::Mul(reciprocal, inverse_root(d, r)), reciprocal};
  }
  const auto reciprocal = hn::Div(one, s);
  if (beta == 0.5f) return {hn::Div(one, hn::Sqrt(s)), reciprocal};
  if (beta == 1.0f) return {reciprocal, reciprocal};
  return {raised(d, s, -beta), reciprocal};
}

// Σ of padded[c … c + size − 1]
template <class D>
HWY_INLINE hn::Vec<D> window_sum(D d, const float* padded, int64_t size) {
  auto sum = hn::LoadU(d, padded);
  for (int64_t i = 1; i < size; ++i) sum = hn::Add(sum, hn::LoadU(d, padded + i));
  return sum;
}

// Rows go through in blocks: a shifted load straight after the store that it straddles would wait for it to reach the
// cache. But a block and its scratch must stay in the first level: with 256 channels 4 rows.
constexpr int64_t kMaxBlockRows = 8;
inline int64_t block_rows(int64_t C) { return std::clamp<int64_t>(1024 / C, 2, kMaxBlockRows); }

// Zeroed rows of `padded` floats, one set of `rows` for each of `arrays`.
struct Scratch {
  float* values;
  int64_t padded, rows;

  float* row(int64_t array, int64_t i) const { return values + (array * rows + i) * padded; }
};

// Splits the rows over the threads; fn(tag, first, rows, scratch) for blocks of at most block_rows(C).
template <typename Fn>
void for_each_block(const LocalResponseNormShape& shape, int64_t arrays, Context& context, Fn&& fn) {
  constexpr int64_t kGrainValues = 8192;
  const int64_t block = block_rows(shape.C);
  const int64_t grain = std::max<int64_t>(1, kGrainValues / (shape.C * block)) * block;
  const int64_t grains = (shape.rows + grain - 1) / grain;
  const int64_t tasks = std::min<int64_t>(grains, 4 * context.threads->size());
  // Whole cache lines, so that tasks do not share one.
  const int64_t padded = (shape.C + shape.size - 1 + 15) / 16 * 16;
  const int64_t each = arrays * block * padded;
  float* scratch = context.workspace->get<float>(tasks * each);
  context.threads->run(tasks, [&](int64_t task) HWY_ATTR {
    const Scratch own = {scratch + task * each, padded, block};
    std::fill(own.values, own.values + each, 0.0f);
    const int64_t end = std::min(shape.rows, grains * (task + 1) / tasks * grain);
    with_channel_vectors(shape.C, [&](auto d) HWY_ATTR {
      for (int64_t first = grains * task / tasks * grain; first < end; first += block) {
        fn(d, first, std::min(block, end - first), own);
      }
    });
  });
}

template <class D, typename T>
HWY_INLINE void square_rows(D d, const T* x, int64_t rows, const LocalResponseNormShape& shape,
                            const Scratch& scratch) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* in = x + i * shape.C;
    float* squares = scratch.row(0, i) + shape.size / 2;
    for_each_channel_vector(d, shape.C, [&](int64_t c) HWY_ATTR {
      const auto v = load(d, in + c);
      hn::StoreU(hn::Mul(v, v), d, squares + c);
    });
  }
}

template <typename T>
void Forward(const T* x, T* y, const LocalResponseNormShape& shape, Context& context) {
  const int64_t C = shape.C;
  for_each_block(shape, 1, context, [&](auto d, int64_t first, int64_t rows, const Scratch& scratch) HWY_ATTR {
    const auto k = hn::Set(d, shape.k), alpha = hn::Set(d, shape.scale_alpha());
    square_rows(d, x + first * C, rows, shape, scratch);
    for (int64_t i = 0; i < rows; ++i) {
      const T* in = x + (first + i) * C;
      T* out = y + (first + i) * C;
      const float* squares = scratch.row(0, i);
      for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
        const auto scale = hn::MulAdd(alpha, window_sum(d, squares + c, shape.size), k);
        store(d, hn::Mul(load(d, in + c), inverse_powers(d, scale, shape.beta).power), out + c, false);
      });
    }
  });
}

// dx_c = dy_c·s_c^−β − 2αβ·x_c·Σ_{c'} dy_c'·x_c'·s_c'^(−β−1) over the channels c' whose window holds c: c − (n − 1)/2 …
// c + n/2, the window mirrored.
template <typename T>
void Backward(const T* x, const T* dy, T* dx, const LocalResponseNormShape& shape, Context& context) {
  const int64_t C = shape.C, mirrored_before = (shape.size - 1) / 2;
  const float slope = -2.0f * shape.scale_alpha() * shape.beta;
  // Scratch: the squares, the terms of the sum, and the first product, dy_c·s_c^−β.
  for_each_block(shape, 3, context, [&](auto d, int64_t first, int64_t rows, const Scratch& scratch) HWY_ATTR {
    const auto k = hn::Set(d, shape.k), alpha = hn::Set(d, shape.scale_alpha());
    square_rows(d, x + first * C, rows, shape, scratch);
    for (int64_t i = 0; i < rows; ++i) {
      const T* in = x + (first + i) * C;
      const T* gradient = dy + (first + i) * C;
      const float* squares = scratch.row(0, i);
      float* terms = scratch.row(1, i) + mirrored_before;
      float* direct = scratch.row(2, i);
      for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
        const auto scale = hn::MulAdd(alpha, window_sum(d, squares + c, shape.size), k);
        const auto inverse = inverse_powers(d, scale, shape.beta);
        const auto product = hn::Mul(load(d, gradient + c), inverse.power);
        hn::StoreU(product, d, direct + c);
        hn::StoreU(hn::Mul(hn::Mul(product, load(d, in + c)), inverse.reciprocal), d, terms + c);
      });
    }
    for (int64_t i = 0; i < rows; ++i) {
      const T* in = x + (first + i) * C;
      T* out = dx + (first + i) * C;
      const float* terms = scratch.row(1, i);
      const float* direct = scratch.row(2, i);
      for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
        const auto through = hn::Mul(hn::Set(d, slope), load(d, in + c));
        store(d, hn::MulAdd(through, window_sum(d, terms + c, shape.size), hn::LoadU(d, direct + c)), out + c, false);
      });
    }
  });
}

STRIATE_STORAGE_TYPES(Forward);
STRIATE_STORAGE_TYPES(Backward);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(Forward);
STRIATE_EXPORT(Backward);

template <typename T>
void local_response_norm_forward(const T* x, T* y, const LocalResponseNormShape& shape, Context& context) {
  shape.check();
  if (shape.rows == 0) return;
  STRIATE_FOR_TYPE(T, Forward)(x, y, shape, context);
}

template <typename T>
void local_response_norm_backward(const T* x, const T* dy, T* dx, const LocalResponseNormShape& shape,
                                  Context& context) {
  shape.check();
  if (shape.rows == 0) return;
  STRIATE_FOR_TYPE(T, Backward)(x, dy, dx, shape, context);
}

#define STRIATE_INSTANTIATE(T)                                                                         \
  template void local_response_norm_forward<T>(const T*, T*, const LocalResponseNormShape&, Context&); \
  template void local_response_norm_backward<T>(const T*, const T*, T*, const LocalResponseNormShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
