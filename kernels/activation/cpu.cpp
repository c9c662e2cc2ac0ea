// Maps over runs of floats: ReLU and its leaky form are bound by memory, GELU and SiLU by one exponential a value.
#include "kernels/activation/activation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/cpu.cpp"
#include "kernels/simd.h"
// After simd.h, which decides the targets.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

// Φ(x) and exp(−x²/2) together, since both rest on the same exponential: with t = 1/(1 + |x|/(2√2)),
// Φ(−|x|) = exp(−x²/2)·(c₁t + … + c₉t⁹), minimax in relative error over |x| ≤ 14 (4.3e-8; beyond, float has 0).
struct Normal {
  FloatVector cdf;
  FloatVector exponential;
};

HWY_INLINE Normal normal(FloatVector x) {
  const Floats d;
  const auto one = hn::Set(d, 1.0f);
  const auto t = hn::Div(one, hn::MulAdd(hn::Abs(x), hn::Set(d, 0.35355339f), one));
  constexpr float kCoefficients[] = {-0.02953891952f, 0.1423075517f, -0.2436381805f, 0.1390735364f, -0.01333781459f,
                                     0.1013529703f,   0.1215497205f, 0.1411879186f,  0.1410431956f};
  auto sum = hn::Set(d, kCoefficients[0]);
  for (size_t i = 1; i < std::size(kCoefficients); ++i) sum = hn::MulAdd(sum, t, hn::Set(d, kCoefficients[i]));
  const auto exponential = hn::Exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
  const auto tail = hn::Mul(exponential, hn::Mul(sum, t));
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)), exponential};
}

// 1 + exp(−x). Highway's Exp is defined up to 104, where a float has long overflowed to infinity.
HWY_INLINE FloatVector sigmoid_denominator(FloatVector x) {
  const Floats d;
  return hn::Add(hn::Set(d, 1.0f), hn::Exp(d, hn::Min(hn::Neg(x), hn::Set(d, 104.0f))));
}

struct Identity {
  static HWY_INLINE FloatVector forward(FloatVector x) { return x; }
  static HWY_INLINE FloatVector backward(FloatVector, FloatVector dy) { return dy; }
};

// The comparisons let NaN through.
struct Relu {
  static HWY_INLINE FloatVector forward(FloatVector x) { return hn::IfThenZeroElse(hn::Le(x, hn::Zero(Floats())), x); }
  static HWY_INLINE FloatVector backward(FloatVector y, FloatVector dy) {
    return hn::IfThenZeroElse(hn::Le(y, hn::Zero(Floats())), dy);
  }
};

struct LeakyRelu {
  static HWY_INLINE FloatVector forward(FloatVector x) { return backward(x, x); }
  static HWY_INLINE FloatVector backward(FloatVector y, FloatVector dy) {
    const Floats d;
    return hn::IfThenElse(hn::Gt(y, hn::Zero(d)), dy, hn::Mul(hn::Set(d, kLeakySlope), dy));
  }
};

struct Gelu {
  static HWY_INLINE FloatVector forward(FloatVector x) { return hn::Mul(x, normal(x).cdf); }
  static HWY_INLINE FloatVector backward(FloatVector x, FloatVector dy) {
    const Normal n = normal(x);
    const auto density = hn::Mul(n.exponential, hn::Set(Floats(), 0.39894228f));  // 1/√(2π)
    return hn::Mul(dy, hn::MulAdd(x, density, n.cdf));
  }
};

struct Silu {
  static HWY_INLINE FloatVector forward(FloatVector x) { return hn::Div(x, sigmoid_denominator(x)); }
  static HWY_INLINE FloatVector backward(FloatVector x, FloatVector dy) {
    const auto one = hn::Set(Floats(), 1.0f);
    const auto s = hn::Div(one, sigmoid_denominator(x));
    return hn::Mul(hn::Mul(dy, s), hn::MulAdd(x, hn::Sub(one, s), one));
  }
};

// 64 KiB of floats: below that, waking a thread costs more than it saves.
constexpr int64_t kGrain = 16384;

template <class Function, typename T>
void map_forward(const T* x, T* y, int64_t n, Context& context) {
  const bool streamed = y != x && past_the_caches(bytes_of<T>(n));
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_output_vector(begin, end, y, streamed, [=](int64_t i, auto part) HWY_ATTR {
      part.store(Function::forward(part.load(x + i)), y + i);
    });
  });
}

template <class Function, typename T>
void map_backward(const T* saved, const T* dy, T* dx, int64_t n, Context& context) {
  const bool streamed = dx != saved && dx != dy && past_the_caches(bytes_of<T>(n));
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_output_vector(begin, end, dx, streamed, [=](int64_t i, auto part) HWY_ATTR {
      part.store(Function::backward(part.load(saved + i), part.load(dy + i)), dx + i);
    });
  });
}

template <typename Fn>
void with_function(Activation activation, Fn&& fn) {
  switch (activation) {
    case Activation::none:
      return fn(Identity());
    case Activation::relu:
      return fn(Relu());
    case Activation::leaky_relu:
      return fn(LeakyRelu());
    case Activation::gelu:
      return fn(Gelu());
    case Activation::silu:
      return fn(Silu());
  }
}

template <typename T>
void ActivationForward(Activation activation, const T* x, T* y, int64_t n, Context& context) {
  with_function(activation, [&](auto function) { map_forward<decltype(function)>(x, y, n, context); });
}

template <typename T>
void ActivationBackward(Activation activation, const T* saved, const T* dy, T* dx, int64_t n, Context& context) {
  with_function(activation, [&](auto function) { map_backward<decltype(function)>(saved, dy, dx, n, context); });
}

STRIATE_STORAGE_TYPES(ActivationForward);
STRIATE_STORAGE_TYPES(ActivationBackward);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(ActivationForward);
STRIATE_EXPORT(ActivationBackward);

template <typename T>
void activation_forward(Activation activation, const T* x, T* y, int64_t n, Context& context) {
  STRIATE_FOR_TYPE(T, ActivationForward)(activation, x, y, n, context);
}

template <typename T>
void activation_backward(Activation activation, const T* saved, const T* dy, T* dx, int64_t n, Context& context) {
  STRIATE_FOR_TYPE(T, ActivationBackward)(activation, saved, dy, dx, n, context);
}

#define STRIATE_INSTANTIATE(T)                                                      \
  template void activation_forward<T>(Activation, const T*, T*, int64_t, Context&); \
  template void activation_backward<T>(Activation, const T*, const T*, T*, int64_t, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
