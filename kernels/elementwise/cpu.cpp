// Maps over runs of floats, bound by memory: one read of each input, one write of the output.
#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/cpu.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

// 64 KiB of floats: below that, waking a thread costs more than it saves.
constexpr int64_t kGrain = 16384;

template <typename T>
void Fill(T* y, float value, int64_t n, Context& context) {
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto v = hn::Set(Floats(), value);
    for_each_output_vector(begin, end, y, past_the_caches(bytes_of<T>(n)),
                           [=](int64_t i, auto part) HWY_ATTR { part.store(v, y + i); });
  });
}

template <typename T>
void Scale(const T* x, T* y, float factor, int64_t n, Context& context) {
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto f = hn::Set(Floats(), factor);
    for_each_output_vector(begin, end, y, y != x && past_the_caches(bytes_of<T>(n)),
                           [=](int64_t i, auto part) HWY_ATTR { part.store(hn::Mul(f, part.load(x + i)), y + i); });
  });
}

template <typename T>
void AddActivation(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context) {
  // none, relu and leaky_relu are one formula: the sum where it is positive, else slope·sum (slope 1, 0, 0.01).
  const float slope = activation == Activation::relu ? 0.0f : activation == Activation::leaky_relu ? kLeakySlope : 1.0f;
  const bool streamed = y != a && y != b && past_the_caches(bytes_of<T>(n));
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto zero = hn::Zero(Floats());
    const auto below = hn::Set(Floats(), slope);
    for_each_output_vector(begin, end, y, streamed, [=](int64_t i, auto part) HWY_ATTR {
      const auto sum = hn::Add(part.load(a + i), part.load(b + i));
      if (slope == 0.0f) {  // not 0·sum, which is NaN for −∞
        part.store(hn::IfThenZeroElse(hn::Le(sum, zero), sum), y + i);
      } else {
        part.store(hn::IfThenElse(hn::Gt(sum, zero), sum, hn::Mul(below, sum)), y + i);
      }
    });
  });
}

template <typename T>
void AccumulateInto(const T* x, T* y, int64_t n, Context& context) {
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_vector(begin, end, [=](int64_t i, auto part) HWY_ATTR {
      part.store(hn::Add(part.load(y + i), part.load(x + i)), y + i);
    });
  });
}

void FloatToBf16(const float* x, bfloat16* y, int64_t n, Context& context) {
  const bool streamed = past_the_caches(bytes_of<bfloat16>(n));
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_output_vector(begin, end, y, streamed,
                           [=](int64_t i, auto part) HWY_ATTR { part.store(part.load(x + i), y + i); });
  });
}

void Bf16ToFloat(const bfloat16* x, float* y, int64_t n, Context& context) {
  const bool streamed = past_the_caches(bytes_of<float>(n));
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_output_vector(begin, end, y, streamed,
                           [=](int64_t i, auto part) HWY_ATTR { part.store(part.load(x + i), y + i); });
  });
}

STRIATE_STORAGE_TYPES(Fill);
STRIATE_STORAGE_TYPES(Scale);
STRIATE_STORAGE_TYPES(AddActivation);
STRIATE_STORAGE_TYPES(AccumulateInto);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(Fill);
STRIATE_EXPORT(Scale);
STRIATE_EXPORT(AddActivation);
STRIATE_EXPORT(AccumulateInto);
HWY_EXPORT(FloatToBf16);
HWY_EXPORT(Bf16ToFloat);

template <typename T>
void fill(T* y, Parameter<T> value, int64_t n, Context& context) {
  STRIATE_FOR_TYPE(T, Fill)(y, value, n, context);
}

template <typename T>
void scale(const T* x, T* y, Parameter<T> factor, int64_t n, Context& context) {
  STRIATE_FOR_TYPE(T, Scale)(x, y, factor, n, context);
}

template <typename T>
void add(const T* a, const T* b, T* y, int64_t n, Activation activation, Context& context) {
  check_fused_into_add(activation);
  STRIATE_FOR_TYPE(T, AddActivation)(a, b, y, n, activation, context);
}

template <typename T>
void accumulate(const T* x, T* y, int64_t n, Context& context) {
  STRIATE_FOR_TYPE(T, AccumulateInto)(x, y, n, context);
}

void float_to_bf16(const float* x, bfloat16* y, int64_t n, Context& context) {
  HWY_DYNAMIC_DISPATCH(FloatToBf16)(x, y, n, context);
}

void bf16_to_float(const bfloat16* x, float* y, int64_t n, Context& context) {
  HWY_DYNAMIC_DISPATCH(Bf16ToFloat)(x, y, n, context);
}

#define STRIATE_INSTANTIATE(T)                                                 \
  template void fill<T>(T*, Parameter<T>, int64_t, Context&);                  \
  template void scale<T>(const T*, T*, Parameter<T>, int64_t, Context&);       \
  template void add<T>(const T*, const T*, T*, int64_t, Activation, Context&); \
  template void accumulate<T>(const T*, T*, int64_t, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
