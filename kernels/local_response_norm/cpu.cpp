// A pixel at a time: its squares go into a row with zeros on both sides, so that a window's sum is `size` shifted
// vectors. Forward reads and writes each value once; the power costs two square roots and a division where β = 3/4.
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

// s^−β, s > 0.
template <class D>
HWY_INLINE hn::Vec<D> inverse_power(D d, hn::Vec<D> s, float beta) {
  const auto one = hn::Set(d, 1.0f);
  if (beta == 0.75f) {
    const auto root = hn::Sqrt(s);
    return hn::Div(one, hn::Mul(root, hn::Sqrt(root)));
  }
  if (beta == 0.5f) return hn::Div(one, hn::Sqrt(s));
  if (beta == 1.0f) return hn::Div(one, s);
  return hn::Exp(d, hn::Mul(hn::Set(d, -beta), hn::Log(d, s)));
}

// Σ of padded[c … c + size − 1]
template <class D>
HWY_INLINE hn::Vec<D> window_sum(D d, const float* padded, int64_t size) {
  auto sum = hn::LoadU(d, padded);
  for (int64_t i = 1; i < size; ++i) sum = hn::Add(sum, hn::LoadU(d, padded + i));
  return sum;
}

// Splits the rows over the threads; fn(tag, row, scratch) has `scratch_rows` rows of C + size − 1 zeroed floats.
template <typename Fn>
void for_each_pixel(const LocalResponseNormShape& shape, int64_t scratch_rows, Context& context, Fn&& fn) {
  constexpr int64_t kGrainValues = 8192;
  const int64_t grain = std::max<int64_t>(1, kGrainValues / shape.C);
  const int64_t grains = (shape.rows + grain - 1) / grain;
  const int64_t tasks = std::min<int64_t>(grains, 4 * context.threads->size());
  // Whole cache lines, so that tasks do not share one.
  const int64_t padded = (shape.C + shape.size - 1 + 15) / 16 * 16;
  float* scratch = context.workspace->get<float>(tasks * scratch_rows * padded);
  context.threads->run(tasks, [&](int64_t task) HWY_ATTR {
    float* own = scratch + task * scratch_rows * padded;
    std::fill(own, own + scratch_rows * padded, 0.0f);
    const int64_t end = std::min(shape.rows, grains * (task + 1) / tasks * grain);
    with_channel_vectors(shape.C, [&](auto d) HWY_ATTR {
      for (int64_t row = grains * task / tasks * grain; row < end; ++row) fn(d, row, own, own + padded);
    });
  });
}

void Forward(const float* x, float* y, const LocalResponseNormShape& shape, Context& context) {
  const int64_t C = shape.C, before = shape.size / 2;
  for_each_pixel(shape, 1, context, [&](auto d, int64_t row, float* squares, float*) HWY_ATTR {
    const float* in = x + row * C;
    float* out = y + row * C;
    const auto k = hn::Set(d, shape.k), alpha = hn::Set(d, shape.scale_alpha());
    for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
      const auto v = hn::LoadU(d, in + c);
      hn::StoreU(hn::Mul(v, v), d, squares + before + c);
    });
    for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
      const auto scale = hn::MulAdd(alpha, window_sum(d, squares + c, shape.size), k);
      hn::StoreU(hn::Mul(hn::LoadU(d, in + c), inverse_power(d, scale, shape.beta)), d, out + c);
    });
  });
}

// dx_c = dy_c·s_c^−β − 2αβ·x_c·Σ_{c'} dy_c'·x_c'·s_c'^(−β−1) over the channels c' whose window holds c: c − (n − 1)/2 …
// c + n/2, the window mirrored.
void Backward(const float* x, const float* dy, float* dx, const LocalResponseNormShape& shape, Context& context) {
  const int64_t C = shape.C, before = shape.size / 2, mirrored_before = (shape.size - 1) / 2;
  const float slope = -2.0f * shape.scale_alpha() * shape.beta;
  for_each_pixel(shape, 2, context, [&](auto d, int64_t row, float* squares, float* shares) HWY_ATTR {
    const float* in = x + row * C;
    const float* gradient = dy + row * C;
    float* out = dx + row * C;
    const auto k = hn::Set(d, shape.k), alpha = hn::Set(d, shape.scale_alpha());
    for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
      const auto v = hn::LoadU(d, in + c);
      hn::StoreU(hn::Mul(v, v), d, squares + before + c);
    });
    for_each_channel_vector(d, C, [&](int64_t c) HWY_ATTR {
      const auto scale = hn::MulAdd(alpha, window_sum(d, squares + c, shape.size), k);
      const auto direct = hn::Mul(hn::LoadU(d, gradient + c), inverse_power(d, scale, shape.beta));
      hn::StoreU(direct, d, out + c);
      hn::StoreU(hn::Div(hn::Mul(direct, hn::LoadU(d, in + c)), scale), d, shares + mirrored_before + c);
    });
    // An overlapping last vector would subtract twice from `out`, so its part is left to single lanes.
    const auto finish = [&](auto tag, int64_t c) HWY_ATTR {
      const auto sum = window_sum(tag, shares + c, shape.size);
      const auto through = hn::Mul(hn::Set(tag, slope), hn::LoadU(tag, in + c));
      hn::StoreU(hn::MulAdd(through, sum, hn::LoadU(tag, out + c)), tag, out + c);
    };
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    int64_t c = 0;
    for (; c + lanes <= C; c += lanes) finish(d, c);
    for (; c < C; ++c) finish(hn::FixedTag<float, 1>(), c);
  });
}

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

void local_response_norm_forward(const float* x, float* y, const LocalResponseNormShape& shape, Context& context) {
  shape.check();
  if (shape.rows == 0) return;
  HWY_DYNAMIC_DISPATCH(Forward)(x, y, shape, context);
}

void local_response_norm_backward(const float* x, const float* dy, float* dx, const LocalResponseNormShape& shape,
                                  Context& context) {
  shape.check();
  if (shape.rows == 0) return;
  HWY_DYNAMIC_DISPATCH(Backward)(x, dy, dx, shape, context);
}

}  // namespace striate::cpu
#endif
